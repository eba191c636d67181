export { decipherLegacyFiles, type LegacyFilesToDecipher } from './decipher-files.js';
