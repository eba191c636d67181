export { type AuditExportVerdict, verifyAuditExport } from './audit-export.js';
export {
  AUDIT_START,
  type AuditedEvent,
  type AuditFault,
  type AuditHead,
  auditLinkHash,
  AuditWalk,
} from './audit-link.js';
export { type ChunkIdentity, identifyChunk } from './chunk-identity.js';
export {
  CHUNK_ID_BYTES,
  chunkHash,
  deriveChunkId,
  deriveChunkKey,
  deriveDeviceDomainKey,
  KEY_BYTES,
} from './chunk-keys.js';
export { CRYPTO_ERRORS, CryptoError, type CryptoErrorCode } from './errors.js';
export {
  type GrantExpectation,
  type GrantToken,
  openRecipeKey,
  readGrantToken,
  recipientThumbprint,
  sealRecipeKey,
  signGrantToken,
  verifyGrantToken,
} from './grant-token.js';
export { hpkeOpen, hpkeSeal, type HpkeSealed } from './hpke.js';
export {
  type KeyDocument,
  MAX_STATEMENT_KEYS,
  readKeyDocument,
  signKeyDocument,
  StatementKeys,
} from './key-document.js';
export { KEK_BYTES, KekRing, MAX_KEKS, WRAP_OVERHEAD_BYTES, WRAP_PREFIX_BYTES } from './kek-ring.js';
export { KEY_PURPOSES, type KeyPurpose, KeyVault } from './key-vault.js';
export {
  legacyBlockDecipher,
  legacyDecrypt,
  legacyEncrypt,
  legacyEncrypted,
  legacyEncryptedBytes,
} from './legacy/cipher.js';
export {
  calcHash,
  LEGACY_RESOURCE_KEY,
  legacyAesKey,
  legacyApiKey,
  legacyArchiveKey,
  legacyHardwareHash,
} from './legacy/keys.js';
export { type LegacyParts, legacySmallBytes, splitLegacy } from './legacy/split.js';
export {
  type EcdhP256,
  ephemeralRecipient,
  type EphemeralRecipient,
  ES256_SIGNATURE_BYTES,
  generateP256KeyPair,
  importSigningKey,
  importVerificationKey,
  isPrivateJwk,
  jwkFromPoint,
  keyThumbprint,
  type P256KeyPair,
  P256_POINT_BYTES,
  pointFromJwk,
  type PrivateJwk,
  signRaw,
  softwareEcdh,
  verifyRaw,
} from './p256.js';
export { type NamedPrivateKey, needsPassphrase, readPrivateKey, writePrivateKey } from './private-key-file.js';
export type { SealedPlace } from './chunk-run.js';
export {
  CHUNK_OVERHEAD_BYTES,
  type ChunkSecrets,
  MAX_CHUNK_BYTES,
  openChunk,
  openChunkInPool,
  sealChunk,
} from './sealed-chunk.js';
export {
  DRAFT_VERSION,
  newRecipeKey,
  openSegment,
  sealSegment,
  SEGMENT_KINDS,
  SEGMENT_OVERHEAD_BYTES,
  type SegmentKind,
  type SegmentPlace,
} from './sealed-segment.js';
export {
  isKeyId,
  isPublicJwk,
  type PublicJwk,
  MAX_SIGNED_DOCUMENT_CHARS,
  SIGNATURE_ALGORITHM,
  type SigningKey,
  type VerificationKey,
} from './signed-document.js';
export {
  assertInScope,
  readStatement,
  type ResourceKind,
  signStatement,
  type Statement,
  statementHash,
  statementHeader,
  type StatementImage,
  verifyStatement,
} from './statement.js';
