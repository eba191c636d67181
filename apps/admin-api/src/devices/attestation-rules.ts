import { readFileSync } from 'node:fs';

import { isPublicJwk } from '@azaion/crypto';
import { type AttestationRules, EndorsementTrust, parsePcrSelection } from '@azaion/identity';
import { ConfigError } from '@azaion/nest-support';

import type { AdminConfig } from '../config.js';

const PCR_DIGEST = /^[0-9a-f]{64}$/;
const MAX_FILE_CHARS = 1024 * 1024;

/**
 * Reads what this fleet demands of a TPM.
 *
 * @returns `undefined` where neither makers nor single TPMs are trusted: then no device is attested.
 * @throws ConfigError naming the variable whose file cannot be used.
 */
export function readAttestationRules(config: AdminConfig): AttestationRules | undefined {
  const { tpmEkRootsFile, tpmEkAllowFile, tpmPcrAllowFile, tpmPolicyKeyFile } = config;
  if (tpmEkRootsFile === undefined && tpmEkAllowFile === undefined) return undefined;
  const roots = textOf('TPM_EK_ROOTS_FILE', tpmEkRootsFile);
  const allowed = textOf('TPM_EK_ALLOW_FILE', tpmEkAllowFile);
  return {
    endorsement: usable('TPM_EK_ROOTS_FILE, TPM_EK_ALLOW_FILE', () => EndorsementTrust.of(roots, allowed)),
    pcrs: parsePcrSelection(config.tpmPcrs) ?? [],
    allowedPcrDigests:
      config.tpmPcrPolicy === 'accept-first'
        ? undefined
        : usable('TPM_PCR_ALLOW_FILE', () => digestsIn(textOf('TPM_PCR_ALLOW_FILE', tpmPcrAllowFile))),
    policies:
      tpmPolicyKeyFile === undefined
        ? undefined
        : usable('TPM_POLICY_KEY_FILE', () => ({
            key: publicKeyIn(textOf('TPM_POLICY_KEY_FILE', tpmPolicyKeyFile)),
            models: config.tpmPolicyModels,
          })),
  };
}

function digestsIn(text: string): ReadonlySet<string> {
  const lines = text.split('\n').map((line) => line.replace(/#.*$/, '').trim().toLowerCase());
  const digests = lines.filter((line) => line !== '');
  if (digests.some((digest) => !PCR_DIGEST.test(digest))) throw new TypeError('not a list of digests');
  return new Set(digests);
}

function publicKeyIn(text: string): ReturnType<typeof keyOf> {
  return keyOf(JSON.parse(text));
}

function keyOf(value: unknown): { kty: 'EC'; crv: 'P-256'; x: string; y: string } {
  const { kty, crv, x, y } = Object(value) as Record<string, unknown>;
  const key = { kty, crv, x, y };
  if (!isPublicJwk(key)) throw new TypeError('not a P-256 JWK');
  return { kty: 'EC', crv: 'P-256', x: key.x, y: key.y };
}

function textOf(variable: string, path: string | undefined): string {
  if (path === undefined) return '';
  return usable(variable, () => {
    const text = readFileSync(path, 'utf8');
    if (text.length > MAX_FILE_CHARS) throw new TypeError('too long');
    return text;
  });
}

function usable<T>(variable: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const reason =
      (error as NodeJS.ErrnoException).code ?? (error instanceof TypeError ? error.message : 'not readable');
    throw new ConfigError([`${variable}: the file cannot be used (${reason})`]);
  }
}
