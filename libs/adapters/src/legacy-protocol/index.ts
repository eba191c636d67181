export { type LegacyCdnConfig, type LegacyCdnKeys, parseCdnConfig } from './cdn-config.js';
export { DirectoryLegacyParts } from './directory-legacy-parts.js';
export { type LegacyAccount, LegacyApi, legacyLogin } from './legacy-api.js';
export { S3LegacyParts, S3LegacySink } from './s3-legacy-parts.js';
