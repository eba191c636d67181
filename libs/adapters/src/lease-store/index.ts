export { BootRunningClock } from './boot-running-clock.js';
export { FileLeaseStore } from './file-lease-store.js';
export { FileRefusalMarkStore } from './file-refusal-mark-store.js';
export { FileTimeMarkStore } from './file-time-mark-store.js';
