/** What a wrapped key is for. Each purpose has its own subkey, so that a value of one can never be read as another. */
export const KEY_PURPOSES = [
  'recipe',
  'folder',
  'token-signing',
  'statement-signing',
  'statement-root',
  'key-fragment',
  'url-signing',
  'service',
] as const;
/** One of {@link KEY_PURPOSES}. */
export type KeyPurpose = (typeof KEY_PURPOSES)[number];

/**
 * Envelope encryption of the Admin API's keys under a key-encryption key (KEK) that lies apart from the data.
 * A wrapped value opens only for the purpose and row it was made for (AES-256-GCM, AAD = purpose ‖ KEK id ‖ row id).
 */
export abstract class KeyVault {
  /**
   * Wraps a secret under the current KEK.
   *
   * @param rowId - Identifies the database row the value stands in; a value moved to another row does not open.
   */
  abstract wrap(purpose: KeyPurpose, rowId: string, secret: Uint8Array): Promise<Uint8Array>;

  /**
   * Opens a wrapped secret, also one that an earlier KEK of the same vault wrapped.
   *
   * @throws CryptoError `keys.wrapped-invalid`.
   */
  abstract unwrap(purpose: KeyPurpose, rowId: string, wrapped: Uint8Array): Promise<Uint8Array>;

  /** A 32-byte key for computing MACs (signed URLs). Equal on every replica that has the same KEK. */
  abstract macKey(purpose: 'url-signing'): Promise<Uint8Array>;

  /**
   * The first `WRAP_PREFIX_BYTES` bytes of everything that each KEK of the vault wraps, the current one first: enough to find in a
   * database what an earlier KEK wrapped, without opening anything.
   */
  abstract prefixes(): Promise<readonly Uint8Array[]>;
}
