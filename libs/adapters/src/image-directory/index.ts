export { DirectoryImageRuntime } from './directory-image-runtime.js';
