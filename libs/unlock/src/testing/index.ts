export { describeImageRuntime } from './image-runtime-contract.js';
export {
  archiveEnd,
  dockerArchive,
  readDockerArchive,
  readTar,
  tar,
  type TarFile,
  type TestArchive,
  type TestImage,
} from './docker-archive.js';
export { InMemoryArchiveInspector, InMemoryArchiveSource, inPieces, openInMemory } from './in-memory-archive.js';
export { InMemoryImageRuntime } from './in-memory-image-runtime.js';
export { InMemoryKeySource } from './in-memory-key-source.js';
export { InMemoryUnlockRecords } from './in-memory-unlock-records.js';
export { TEST_LIMITS } from './unlock-limits.js';
