export { memoryDirectory } from './memory-directory.js';
export { type LeftDirectory, openWorkDirectory, type WorkDirectory } from './work-directory.js';
