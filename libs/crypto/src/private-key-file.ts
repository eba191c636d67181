import { CompactEncrypt, compactDecrypt } from 'jose';

import { Secret, utf8 } from '@azaion/kernel';

import { CryptoError } from './errors.js';
import { isPrivateJwk, type PrivateJwk } from './p256.js';
import { isKeyId } from './signed-document.js';

const ALGORITHM = 'PBES2-HS512+A256KW';
const CONTENT_ENCRYPTION = 'A256GCM';
/** PBKDF2 rounds: more than the 210,000 that OWASP asks for with HMAC-SHA-512. */
const ITERATIONS = 300_000;
/** Rounds that are still computed for a file from elsewhere. */
const MAX_ITERATIONS = 10_000_000;
const MAX_FILE_CHARS = 16 * 1024;
const COMPACT_JWE = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+){4}$/;

/** A private key with the id by which verifiers find its public half. */
export interface NamedPrivateKey {
  readonly kid: string;
  readonly key: Secret<PrivateJwk>;
}

/**
 * The text of a file that keeps a private key: JSON (RFC 7517) as it is, or encrypted under a passphrase as a compact JWE with PBES2
 * (RFC 7517, appendix C). Without a passphrase nothing protects the key but the file's permissions.
 */
export async function writePrivateKey(
  { kid, key }: NamedPrivateKey,
  passphrase: Secret<string> | undefined,
): Promise<string> {
  const json = JSON.stringify({ ...key.reveal(), kid });
  if (passphrase === undefined) return `${json}\n`;
  const encrypted = await new CompactEncrypt(utf8(json))
    .setProtectedHeader({ alg: ALGORITHM, enc: CONTENT_ENCRYPTION, cty: 'jwk+json' })
    .setKeyManagementParameters({ p2c: ITERATIONS })
    .encrypt(utf8(passphrase.reveal()));
  return `${encrypted}\n`;
}

/** Whether the text of a private key's file needs a passphrase. */
export function needsPassphrase(text: string): boolean {
  return COMPACT_JWE.test(text.trim());
}

/**
 * Reads such a file.
 *
 * @param text - Untrusted.
 * @param passphrase - Only asked for when {@link needsPassphrase} says so.
 * @throws CryptoError `keys.wrong-passphrase` | `keys.invalid`.
 */
export async function readPrivateKey(text: string, passphrase: Secret<string> | undefined): Promise<NamedPrivateKey> {
  if (text.length > MAX_FILE_CHARS) throw invalidFile();
  const json = needsPassphrase(text) ? await decrypted(text.trim(), passphrase) : text;
  const { kid, ...key } = membersOf(json);
  if (!isKeyId(kid) || !isPrivateJwk(key)) throw invalidFile();
  return { kid, key: new Secret(key) };
}

async function decrypted(jwe: string, passphrase: Secret<string> | undefined): Promise<string> {
  try {
    const { plaintext } = await compactDecrypt(jwe, utf8(passphrase?.reveal() ?? ''), {
      keyManagementAlgorithms: [ALGORITHM],
      contentEncryptionAlgorithms: [CONTENT_ENCRYPTION],
      maxPBES2Count: MAX_ITERATIONS,
    });
    return new TextDecoder('utf-8', { fatal: true }).decode(plaintext);
  } catch (cause) {
    throw new CryptoError(
      'keys.wrong-passphrase',
      'The private key does not open: the passphrase is another one, or the file was changed.',
      { cause },
    );
  }
}

/** The members of a JSON object; none where the text is something else. */
function membersOf(json: string): Record<string, unknown> {
  try {
    return { ...(JSON.parse(json) as object) };
  } catch {
    return {};
  }
}

function invalidFile(): CryptoError {
  return new CryptoError('keys.invalid', 'The file does not hold a private P-256 key with its id.');
}
