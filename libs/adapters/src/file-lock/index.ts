export { type FileLock, lockOwner, tryLock, withLock } from './file-lock.js';
