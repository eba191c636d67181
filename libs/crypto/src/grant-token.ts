import { hash } from 'node:crypto';

import { concatBytes, toHex } from '@azaion/kernel';

import { KEY_BYTES } from './chunk-keys.js';
import { CryptoError } from './errors.js';
import { hpkeOpen, hpkeSeal, type HpkeSealed } from './hpke.js';
import type { StatementKeys } from './key-document.js';
import type { EcdhP256 } from './p256.js';
import { signDocument, type SigningKey, verifyDocument } from './signed-document.js';
import { type Statement, statementHash } from './statement.js';

const TYP = 'azaion-grant+jws';
const HEX_32 = /^[0-9a-f]{64}$/;

/** One permission for one recipient key to open one version until a moment. Source: docs/formats/sealed-resource.md, "Grant token". */
export interface GrantToken {
  readonly grantId: string;
  /** {@link statementHash} of the statement it belongs to. */
  readonly statementHash: string;
  readonly rootHash: string;
  /** User id of the person or device. */
  readonly subject: string;
  /** SHA-256 of the recipient's 65-byte public point, hexadecimal. */
  readonly recipient: string;
  /** Seconds since 1970, the API's clock: the only source of trusted time on a device. */
  readonly issuedAt: number;
  readonly notAfter: number;
  /** The newest version of the resource that the subject may use. */
  readonly latestVersion: number;
  /** Versions below this one are withdrawn for good. */
  readonly minVersion: number;
  /** The caller's nonce of this request, base64url. */
  readonly nonce: string;
  /** Whether it may be kept and used offline until `notAfter`. */
  readonly lease: boolean;
  /** Present when an administrator has pinned the resource to this version: it may be used although a higher one was used before. */
  readonly pinned?: true;
}

/** SHA-256 of a 65-byte public point, hexadecimal. */
export function recipientThumbprint(recipientPoint: Uint8Array): string {
  return hash('sha256', recipientPoint, 'hex');
}

/** Signs a grant token with a statement key. */
export async function signGrantToken(token: GrantToken, key: SigningKey): Promise<string> {
  return signDocument(token, TYP, key);
}

/**
 * Reads a grant token whose signature and form are good. Whom it is for and whether it holds is for {@link verifyGrantToken}.
 *
 * @param jws - Untrusted text.
 * @throws CryptoError `statement.key-unknown` | `grant.invalid`.
 */
export async function readGrantToken(jws: string, keys: StatementKeys): Promise<GrantToken> {
  const token = await verifyDocument(jws, TYP, keys.keyFor(jws, TYP));
  if (!isGrantToken(token)) throw new CryptoError('grant.invalid', 'The grant token is forged or malformed.');
  return token;
}

/** What a reader expects of a grant token. */
export interface GrantExpectation {
  readonly statement: Statement;
  /** The compact form of that statement. */
  readonly statementJws: string;
  /** The reader's own public point, 65 bytes. */
  readonly recipientPoint: Uint8Array;
  /** The nonce of the request just made; `undefined` when a kept lease is opened. */
  readonly nonce: string | undefined;
  /** Effective time: trusted, never before a time the API has signed. */
  readonly nowSeconds: number;
}

/**
 * Verifies a grant token against the statement and the reader.
 *
 * @param jws - Untrusted text.
 * @throws CryptoError `statement.key-unknown` | `grant.invalid` | `grant.not-for-statement` | `grant.foreign-recipient` | `grant.wrong-nonce` | `grant.expired` | `grant.withdrawn`.
 */
export async function verifyGrantToken(
  jws: string,
  keys: StatementKeys,
  expected: GrantExpectation,
): Promise<GrantToken> {
  const token = await readGrantToken(jws, keys);
  if (token.statementHash !== statementHash(expected.statementJws) || token.rootHash !== expected.statement.rootHash) {
    throw new CryptoError('grant.not-for-statement', 'The grant token belongs to another version.');
  }
  if (token.recipient !== recipientThumbprint(expected.recipientPoint)) {
    throw new CryptoError('grant.foreign-recipient', 'The grant was issued for another key.');
  }
  if (expected.nonce !== undefined && token.nonce !== expected.nonce)
    throw new CryptoError('grant.wrong-nonce', 'The grant answers another request.');
  if (expected.nonce === undefined && !token.lease)
    throw new CryptoError('grant.expired', 'This grant may not be used offline.');
  if (token.notAfter <= expected.nowSeconds)
    throw new CryptoError('grant.expired', 'The grant has expired: connect to the Admin API to renew it.');
  if (expected.statement.version < token.minVersion)
    throw new CryptoError('grant.withdrawn', 'This version has been withdrawn: ask for a newer one.');
  return token;
}

/** Seals `recipeKey ‖ rootHash` to the recipient, bound to the grant token. */
export async function sealRecipeKey(
  recipeKey: Uint8Array,
  rootHash: Uint8Array,
  recipientPoint: Uint8Array,
  grantTokenJws: string,
): Promise<HpkeSealed> {
  return hpkeSeal(concatBytes(recipeKey, rootHash), recipientPoint, hash('sha256', grantTokenJws, 'buffer'));
}

/**
 * Opens the recipe key of a grant.
 *
 * @param rootHash - From the verified statement, hexadecimal; the sealed copy must agree.
 * @throws CryptoError `grant.invalid` | `grant.not-for-statement`.
 */
export async function openRecipeKey(
  sealed: HpkeSealed,
  recipientPoint: Uint8Array,
  ecdh: EcdhP256,
  grantTokenJws: string,
  rootHash: string,
): Promise<Uint8Array> {
  const secret = await hpkeOpen(sealed, recipientPoint, ecdh, hash('sha256', grantTokenJws, 'buffer'));
  if (secret.length !== 2 * KEY_BYTES)
    throw new CryptoError('grant.invalid', 'The sealed key of the grant has the wrong length.');
  if (toHex(secret.subarray(KEY_BYTES)) !== rootHash)
    throw new CryptoError('grant.not-for-statement', 'The sealed key belongs to another version.');
  return secret.subarray(0, KEY_BYTES);
}

function isGrantToken(value: unknown): value is GrantToken {
  if (typeof value !== 'object' || value === null) return false;
  const {
    grantId,
    statementHash: statement,
    rootHash,
    subject,
    recipient,
    issuedAt,
    notAfter,
    latestVersion,
    minVersion,
    nonce,
    lease,
    pinned,
    ...rest
  } = value as Record<string, unknown>;
  return (
    Object.keys(rest).length === 0 &&
    [grantId, subject, nonce].every((text) => typeof text === 'string' && text.length > 0 && text.length <= 128) &&
    [statement, rootHash, recipient].every((text) => typeof text === 'string' && HEX_32.test(text)) &&
    [issuedAt, notAfter, latestVersion, minVersion].every(
      (count) => typeof count === 'number' && Number.isSafeInteger(count) && count >= 0,
    ) &&
    typeof lease === 'boolean' &&
    (pinned === undefined || pinned === true)
  );
}
