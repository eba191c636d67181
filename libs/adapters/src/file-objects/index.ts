export { FileObjectServer } from './file-object-server.js';
export { FileObjectStore, type FileObjectStoreOptions } from './file-object-store.js';
export { OBJECT_PATH_PREFIX } from './object-url.js';
