export { ByteIntervals } from './byte-intervals.js';
export { type ChunkIdentity, identifyChunk, type SealedPlace } from '@azaion/crypto';
export {
  ChunkOpener,
  ChunkSealer,
  type ChunkToSeal,
  InlineChunkOpener,
  InlineChunkSealer,
  type OpenedChunks,
  type PlaintextPlace,
  type PublishHash,
  RunningHash,
  type SealedRun,
} from './chunk-work.js';
export { Chunker, CHUNKING, type ChunkingParameters } from './chunker.js';
export {
  BUNDLE_FORMAT,
  type BundledFile,
  type BundledResource,
  type BundleManifest,
  encodeManifest,
  grantPath,
  isBundlePath,
  KEY_DOCUMENT_PATH,
  MANIFEST_PATH,
  MAX_MANIFEST_BYTES,
  packPath,
  parseManifest,
  segmentPath,
  statementPath,
} from './bundle/bundle-manifest.js';
export { BundleReader } from './bundle/bundle-reader.js';
export { type ExportedResource, ExportResource, type ExportTarget } from './bundle/export-resource.js';
export { ImportBundle, type ImportBundleDependencies, type ImportedBundle } from './bundle/import-bundle.js';
export {
  type BundleChecks,
  type BundledGrant,
  encodeGrantFile,
  parseGrantFile,
  type VerifiedBundle,
  type VerifiedBundleResource,
  verifyBundle,
} from './bundle/verify-bundle.js';
export type { RetryPolicy } from './backoff.js';
export { RESOURCE_ERRORS, ResourceError, type ResourceErrorCode } from './errors.js';
export {
  type FetchDependencies,
  type FetchRequest,
  FetchResource,
  type LeaseUse,
  type OpenedResource,
} from './fetch/fetch-resource.js';
export { LeasedContent, type LeasedPack } from './fetch/leased-content.js';
export type { FetchProgress } from './fetch/open-range.js';
export { PackReader, type PackReadPolicy } from './fetch/pack-reader.js';
export type { Recipient } from './fetch/recipient.js';
export { StatementTrust } from './fetch/statement-trust.js';
export { ForgetRecipes, type ForgetRecipesDependencies, type ForgottenRecipes } from './leases/forget-recipes.js';
export { type HeldLease, HeldLeases, type HeldLeasesDependencies } from './leases/held-leases.js';
export { MARK_INTERVAL_MS, TrustedTime, type TrustedTimeOptions } from './leases/trusted-time.js';
export {
  MAX_CHUNKS_PER_PACK,
  MAX_PACK_BYTES,
  PACK_ID_PATTERN,
  PACK_TARGET_BYTES,
  type PackId,
  packObjectKey,
  type PackRef,
} from './pack.js';
export {
  areExtents,
  bytesInPack,
  type CompactedPack,
  extentsOf,
  MAX_PACK_EXTENTS,
  type PackExtents,
  rangeInObject,
} from './pack-extents.js';
export { type PackObject, readPack } from './pack-object.js';
export { type GrantAnswer, GrantApi, type GrantRequest, MAX_PACK_URLS, type PackUrl } from './ports/grant-api.js';
export { KnownLegacyParts } from './legacy/known-legacy-parts.js';
export { type FoundBigPart, LegacyBigParts, LegacyBigSink, LegacySmallParts } from './legacy/legacy-parts.js';
export { type LegacyOpening, type OpenedLegacyResource, OpenLegacyResource } from './legacy/open-legacy-resource.js';
export {
  type LegacyPublish,
  type LegacyPublished,
  type LegacyPublishing,
  PublishLegacyResource,
} from './legacy/publish-legacy-resource.js';
export { type Lease, type LeaseName, LeaseStore } from './ports/lease-store.js';
export { ObjectStore, type SignedPut } from './ports/object-store.js';
export { PackSink, type PackTarget } from './ports/pack-sink.js';
export { MAX_RANGE_BYTES, type PackLocation, PackSource } from './ports/pack-source.js';
export { PackStore, type SparePacks } from './ports/pack-store.js';
export { PlaintextSource } from './ports/plaintext-source.js';
export { PlaintextFile } from './ports/plaintext-file.js';
export { type ClockReading, RunningClock } from './ports/running-clock.js';
export { type RefusalMarks, RefusalMarkStore } from './ports/refusal-mark-store.js';
export { type KeptRecipe, SegmentStore } from './ports/segment-store.js';
export { type TimeMark, TimeMarkStore } from './ports/time-mark-store.js';
export {
  type CommitRequest,
  type KnownChunk,
  MAX_KNOWN_CHUNK_IDS,
  type NewPack,
  type OpenedUpload,
  type PackedChunk,
  UploadApi,
} from './ports/upload-api.js';
export { encodeChunkTable, MAX_CHUNK_TABLE_BYTES, parseChunkTable } from './publish/chunk-table.js';
export {
  type PublishOptions,
  type PublishProgress,
  type PublishRequest,
  PublishResource,
  type PublishResult,
} from './publish/publish-resource.js';
export { type ChunkRecord, ChunkSegment } from './recipe/chunk-segment.js';
export {
  CHUNK_RECORD_BYTES,
  FORMAT_VERSION,
  MAX_CHUNK_SEGMENTS,
  MAX_PACK_SEGMENTS,
  MAX_ROOT_BYTES,
  MAX_SEGMENT_BYTES,
  MAX_TOTAL_BYTES,
  PACK_RECORD_BYTES,
  RECORDS_PER_SEGMENT,
} from './recipe/limits.js';
export { PackSegment } from './recipe/pack-segment.js';
export { Recipe, type RecipeVisitor, type SegmentReader, verifyRecipe } from './recipe/recipe.js';
export { RecipeBuilder, type SealedRecipe, type SegmentWriter } from './recipe/recipe-builder.js';
export type { RecipePlace } from './recipe/recipe-place.js';
export type { RecipeRoot } from './recipe/recipe-root.js';
export { type ResealedRecipe, resealRecipe } from './recipe/reseal-recipe.js';
export { signedPutOf } from './signed-put.js';
export { CheckContent, type CheckedChunk, type CheckVisitor } from './verify/check-content.js';
