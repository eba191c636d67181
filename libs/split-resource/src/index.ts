export { CHUNKING, type ChunkingParameters } from './chunker.js';
export { RESOURCE_ERRORS, ResourceError, type ResourceErrorCode } from './errors.js';
export {
  type FetchDependencies,
  type FetchProgress,
  type FetchRequest,
  FetchResource,
  type OpenedResource,
} from './fetch/fetch-resource.js';
export { type Recipient } from './fetch/recipient.js';
export { StatementTrust } from './fetch/statement-trust.js';
export {
  MAX_PACK_BYTES,
  PACK_ID_PATTERN,
  PACK_TARGET_BYTES,
  type PackId,
  packObjectKey,
  type PackRef,
} from './pack.js';
export { type GrantAnswer, GrantApi, type GrantRequest, MAX_PACK_URLS, type PackUrl } from './ports/grant-api.js';
export { ObjectStore, type SignedPut } from './ports/object-store.js';
export { PackSink, type PackTarget } from './ports/pack-sink.js';
export { MAX_RANGE_BYTES, type PackLocation, PackSource } from './ports/pack-source.js';
export { PackStore } from './ports/pack-store.js';
export { SegmentStore } from './ports/segment-store.js';
export {
  type CommitRequest,
  type KnownChunk,
  MAX_KNOWN_CHUNK_IDS,
  type NewPack,
  type OpenedUpload,
  type PackedChunk,
  UploadApi,
} from './ports/upload-api.js';
export {
  type PublishProgress,
  type PublishRequest,
  PublishResource,
  type PublishResult,
} from './publish/publish-resource.js';
