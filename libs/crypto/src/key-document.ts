import { CryptoError } from './errors.js';
import { importVerificationKey } from './p256.js';
import {
  documentKeyId,
  isPublicJwk,
  type PublicJwk,
  SIGNATURE_ALGORITHM,
  isKeyId,
  signDocument,
  type SigningKey,
  type VerificationKey,
  verifyDocument,
} from './signed-document.js';

const TYP = 'azaion-keys+jws';
/** Most keys of one document. Retired keys stay listed while versions signed with them are to be opened. */
export const MAX_STATEMENT_KEYS = 64;

/** The keys that may sign statements and grant tokens, signed by the offline root. Source: docs/formats/sealed-resource.md, "Statement keys". */
export interface KeyDocument {
  /** Grows with every document; a reader never goes back. */
  readonly version: number;
  /** Seconds since 1970. */
  readonly expiresAt: number;
  readonly keys: readonly { readonly kid: string; readonly alg: 'ES256'; readonly key: PublicJwk }[];
}

/** Signs a key document with the offline root key. */
export async function signKeyDocument(document: KeyDocument, root: SigningKey): Promise<string> {
  return signDocument(document, TYP, root);
}

/**
 * Reads a key document of any age, for those who make the next one. Readers of statements use {@link StatementKeys.verify}.
 *
 * @param jws - Untrusted text.
 * @param root - The pinned root key.
 * @throws CryptoError `key-document.invalid`.
 */
export async function readKeyDocument(jws: string, root: VerificationKey): Promise<KeyDocument> {
  const payload = await verifyDocument(jws, TYP, root);
  if (isKeyDocument(payload)) return payload;
  throw new CryptoError(
    'key-document.invalid',
    'The key document is not signed by the pinned root key, or is malformed.',
  );
}

/** The statement keys that a verified key document names. */
export class StatementKeys {
  private constructor(
    /** Version of the document. Keep the highest seen. */
    readonly version: number,
    /** Seconds since 1970. */
    readonly expiresAt: number,
    private readonly keys: ReadonlyMap<string, VerificationKey>,
  ) {}

  /**
   * Verifies a key document.
   *
   * @param jws - Untrusted text.
   * @param root - The pinned root key.
   * @param lowestVersion - The highest version accepted before, 0 for none.
   * @param nowSeconds - Trusted time.
   * @throws CryptoError `key-document.invalid` | `key-document.rollback` | `key-document.expired`.
   */
  static async verify(
    jws: string,
    root: VerificationKey,
    lowestVersion: number,
    nowSeconds: number,
  ): Promise<StatementKeys> {
    const payload = await readKeyDocument(jws, root);
    if (payload.version < lowestVersion)
      throw new CryptoError('key-document.rollback', 'The key document is older than one that was accepted before.');
    if (payload.expiresAt <= nowSeconds)
      throw new CryptoError(
        'key-document.expired',
        'The key document has expired: the operator must sign a new one with the root key.',
      );
    const keys = new Map<string, VerificationKey>();
    for (const { kid, key } of payload.keys) {
      try {
        keys.set(kid, await importVerificationKey(kid, key));
      } catch (cause) {
        throw new CryptoError('key-document.invalid', 'The key document holds a key that is not on P-256.', { cause });
      }
    }
    return new StatementKeys(payload.version, payload.expiresAt, keys);
  }

  /** Whether the document names a key of this id. */
  has(kid: string): boolean {
    return this.keys.has(kid);
  }

  /**
   * Finds the key that a document claims to be signed with.
   *
   * @param jws - Untrusted text.
   * @returns `undefined` when its header is not one of a document of this type: nothing can have signed it.
   * @throws CryptoError `statement.key-unknown`.
   */
  keyFor(jws: string, typ: string): VerificationKey | undefined {
    const kid = documentKeyId(jws, typ);
    if (kid === undefined) return undefined;
    const key = this.keys.get(kid);
    if (key === undefined)
      throw new CryptoError('statement.key-unknown', 'The signing key is not in the current key document.');
    return key;
  }
}

function isKeyDocument(value: unknown): value is KeyDocument {
  if (typeof value !== 'object' || value === null) return false;
  const { version, expiresAt, keys, ...rest } = value as Record<string, unknown>;
  if (
    Object.keys(rest).length > 0 ||
    !isPositive(version) ||
    !isPositive(expiresAt) ||
    !Array.isArray(keys) ||
    keys.length < 1 ||
    keys.length > MAX_STATEMENT_KEYS
  )
    return false;
  const kids = new Set<string>();
  for (const entry of keys as unknown[]) {
    if (typeof entry !== 'object' || entry === null) return false;
    const { kid, alg, key, ...others } = entry as Record<string, unknown>;
    if (
      Object.keys(others).length > 0 ||
      !isKeyId(kid) ||
      alg !== SIGNATURE_ALGORITHM ||
      !isPublicJwk(key) ||
      kids.has(kid)
    )
      return false;
    kids.add(kid);
  }
  return true;
}

function isPositive(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0;
}
