export { connectToDatabase, connectToEmbeddedDatabase, embeddedPostgresHome } from './embedded-database.js';
export { gatherEvidence, type PublishedPlaintext, type SplitStores } from './gather-evidence.js';
export { directoryObjects, s3Objects, type StoredObjects } from './stored-objects.js';
