export { UNLOCK_ERRORS, UnlockError, type UnlockErrorCode } from './errors.js';
export { ArchiveInspector } from './ports/archive-inspector.js';
export { ArchiveSource, type FoundArchive } from './ports/archive-source.js';
export { type EngineImage, ImageRuntime } from './ports/image-runtime.js';
export { type UnlockRecord, UnlockRecords } from './ports/unlock-records.js';
export { isRunning, UNLOCK_STATES, UNLOCK_TRANSITIONS, type UnlockState, UnlockStateMachine } from './unlock-state.js';
