export { chainIdsOf } from './chain-ids.js';
export { inspectImageArchive, type InspectedImageArchive, inspectWhilePassing } from './inspect-image-archive.js';
export { TarArchiveInspector } from './tar-archive-inspector.js';
