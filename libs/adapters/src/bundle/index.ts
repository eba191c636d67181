export { packBundle, unpackBundle } from './bundle-tar.js';
export { BundleWriter } from './bundle-writer.js';
export { copyBundle } from './copy-bundle.js';
export { DirectoryBundle } from './directory-bundle.js';
