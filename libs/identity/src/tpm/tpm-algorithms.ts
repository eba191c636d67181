/** Identifiers of algorithms (TCG Algorithm Registry). */
export const TPM_ALG = {
  rsa: 0x0001,
  sha1: 0x0004,
  aes: 0x0006,
  sha256: 0x000b,
  null: 0x0010,
  rsassa: 0x0014,
  rsaes: 0x0015,
  ecdsa: 0x0018,
  ecdh: 0x0019,
  ecdaa: 0x001a,
  ecc: 0x0023,
  cfb: 0x0043,
} as const;

/** Curves (TCG Algorithm Registry). */
export const TPM_ECC_NIST_P256 = 0x0003;

/** Attributes of an object (`TPMA_OBJECT`, Part 2, 8.3). */
export const TPMA_OBJECT = {
  fixedTpm: 1 << 1,
  fixedParent: 1 << 4,
  sensitiveDataOrigin: 1 << 5,
  userWithAuth: 1 << 6,
  adminWithPolicy: 1 << 7,
  noDa: 1 << 10,
  encryptedDuplication: 1 << 11,
  restricted: 1 << 16,
  decrypt: 1 << 17,
  sign: 1 << 18,
} as const;

/** Commands that policies name (`TPM_CC`, Part 2, 6.5). */
export const TPM_CC = { policyNv: 0x0149, policyAuthorize: 0x016a, policyPcr: 0x017f } as const;
