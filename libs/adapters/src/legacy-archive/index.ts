export { LegacyArchiveSource } from './legacy-archive-source.js';
export { parseAllowList } from './allow-list.js';
