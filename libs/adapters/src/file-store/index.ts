export { OpenPlaintextFile } from './open-plaintext-file.js';
export { FilePlaintext } from './file-plaintext.js';
export { DirectoryPackSource } from './directory-pack-source.js';
export { DirectoryPackStore, type DirectoryPackStoreOptions } from './directory-pack-store.js';
export { DirectorySegmentStore } from './directory-segment-store.js';
export { systemCode } from './file-errors.js';
export { journalHeader, journalRecord, replayJournal } from './presence-journal.js';
export { namesIn, readTextIfThere } from './read-if-there.js';
export { replaceDurably } from './replace-durably.js';
