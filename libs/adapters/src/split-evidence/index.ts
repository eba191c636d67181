export { connectToEmbeddedDatabase, embeddedPostgresHome } from './embedded-database.js';
export { gatherEvidence, type PublishedPlaintext, type SplitStores } from './gather-evidence.js';
