export { abortable, orAborted } from './abortable.js';
export { UNLOCK_ERRORS, UnlockError, type UnlockErrorCode } from './errors.js';
export { canonicalReference, type ExpectedImage } from './expected-image.js';
export { ArchiveInspector } from './ports/archive-inspector.js';
export { ArchiveSource, type FoundArchive } from './ports/archive-source.js';
export { type EngineImage, ImageRuntime } from './ports/image-runtime.js';
export { type UnlockRecord, UnlockRecords } from './ports/unlock-records.js';
export { type UnlockPhase, type UnlockProgress } from './progress-meter.js';
export { type StallLimits } from './stall-watch.js';
export {
  type UnlockDependencies,
  type UnlockImage,
  UnlockImages,
  type UnlockRequest,
  type UnlockStatus,
} from './unlock-images.js';
export { isRunning, UNLOCK_STATES, UNLOCK_TRANSITIONS, type UnlockState, UnlockStateMachine } from './unlock-state.js';
