export { abortable, orAborted, pause } from './abortable.js';
export { UNLOCK_ERRORS, UnlockError, type UnlockErrorCode } from './errors.js';
export { canonicalReference, type ExpectedImage } from './expected-image.js';
export {
  type ArchivedLayer,
  ArchiveInspector,
  type ArchivePart,
  type ArchiveSurvey,
  type RangedArchive,
} from './ports/archive-inspector.js';
export {
  type ArchiveName,
  ArchiveSource,
  type ArchiveTraffic,
  type ArchiveVersion,
  type FoundArchive,
  type OpenArchive,
} from './ports/archive-source.js';
export { FlightGate } from './ports/flight-gate.js';
export { type EngineImage, type ImageAssignment, ImageRuntime } from './ports/image-runtime.js';
export { KeySource } from './ports/key-source.js';
export { ServiceStack } from './ports/service-stack.js';
export { type LoadedImages, type ServiceRetry, type UnlockRecord, UnlockRecords } from './ports/unlock-records.js';
export type { UnlockPhase, UnlockProgress } from './progress-meter.js';
export { type UnlockDependencies, UnlockImages } from './unlock-images.js';
export type { UnlockLimits } from './unlock-limits.js';
export type { UnlockRequest, UnlockStart } from './unlock-request.js';
export { isRunning, UNLOCK_STATES, UNLOCK_TRANSITIONS, type UnlockState, UnlockStateMachine } from './unlock-state.js';
export type { UnlockImage, UnlockReport, UnlockStatus } from './unlock-status.js';
