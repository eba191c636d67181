export { FileLeaseStore } from './file-lease-store.js';
export { FileTimeMarkStore } from './file-time-mark-store.js';
