export {
  InMemoryAdminApi,
  type InMemoryAdminApiOptions,
  InMemoryGrantApi,
  InMemoryUploadApi,
} from './in-memory-admin-api.js';
export { InMemoryLeaseStore, InMemoryRefusalMarkStore, InMemoryTimeMarkStore } from './in-memory-lease-store.js';
export { InMemoryObjectStore, InMemoryPackSink, InMemoryPackSource } from './in-memory-object-store.js';
export { InMemoryPlaintextFile } from './in-memory-plaintext-file.js';
export { InMemoryPackStore } from './in-memory-pack-store.js';
export { InMemorySegmentStore } from './in-memory-segment-store.js';
export { InMemoryStatementTrust } from './in-memory-statement-trust.js';
export { softwareRecipient } from './software-recipient.js';
export { describeLeaseStore } from './describe-lease-store.js';
export { describeChunkOpener } from './describe-chunk-opener.js';
export { describeChunkSealer } from './describe-chunk-sealer.js';
export { describeObjectStore, type ObjectStoreHarness } from './describe-object-store.js';
export { describePackSink, type PackSinkHarness } from './describe-pack-sink.js';
export { describePackSource, type PackSourceHarness } from './describe-pack-source.js';
export { describePackStore } from './describe-pack-store.js';
export { describeSegmentStore } from './describe-segment-store.js';
export { describeLegacyBigParts, type LegacyBigPartsUnderTest } from './describe-legacy-big-parts.js';
export { InMemoryLegacyBigParts, InMemoryLegacyBigSink, InMemoryLegacySmallParts } from './in-memory-legacy-parts.js';
