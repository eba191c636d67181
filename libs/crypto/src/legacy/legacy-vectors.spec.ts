import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';

import { legacyDecrypt, legacyEncrypt, legacyEncryptedBytes } from './cipher.js';
import {
  calcHash,
  LEGACY_RESOURCE_KEY,
  legacyAesKey,
  legacyApiKey,
  legacyArchiveKey,
  legacyHardwareHash,
} from './keys.js';
import { legacySmallBytes, splitLegacy } from './split.js';

interface Vectors {
  inputs: { email: string; password: string; fingerprint: string };
  derivations: Record<
    | 'calcHashEmpty'
    | 'hardwareHash'
    | 'apiKeyWithHardware'
    | 'apiKeyWithHardwareAesHex'
    | 'apiKey'
    | 'resourceKey'
    | 'resourceKeyAesHex',
    string
  >;
  ciphertexts: (
    | { plaintextText: string; key: 'resourceKey' | 'apiKeyWithHardware'; hex: string }
    | { plaintextText: string; key?: never; keyFragmentText: string; aesKeyHex: string; hex: string }
  )[];
  splits: {
    plaintextBytes: number;
    plaintextSha256?: string;
    encryptedBytes: number;
    encryptedSha256?: string;
    smallBytes: number;
    smallSha256: string;
    bigBytes: number;
    bigSha256?: string;
  }[];
  splitSizes: [plaintextBytes: number, encryptedBytes: number, smallBytes: number][];
}

const { inputs, derivations, ciphertexts, splits, splitSizes } = JSON.parse(
  readFileSync(new URL('./fixtures/legacy-v1.json', import.meta.url), 'utf8'),
) as Vectors;
const IV = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');

function sha256(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex');
}

describe('legacy key derivations give what the other implementation gives', () => {
  it('calcHash', () => {
    expect(calcHash('')).toBe(derivations.calcHashEmpty);
    expect(calcHash('')).toHaveLength(64);
  });

  it('legacyHardwareHash', () => {
    expect(legacyHardwareHash(inputs.fingerprint)).toBe(derivations.hardwareHash);
  });

  it('legacyApiKey without hardware', () => {
    expect(legacyApiKey(inputs.email, inputs.password)).toBe(derivations.apiKey);
  });

  it('legacyApiKey with hardware, and its AES key', () => {
    const key = legacyApiKey(inputs.email, inputs.password, derivations.hardwareHash);
    expect(key).toBe(derivations.apiKeyWithHardware);
    expect(legacyAesKey(key).toString('hex')).toBe(derivations.apiKeyWithHardwareAesHex);
  });

  it('LEGACY_RESOURCE_KEY and its AES key', () => {
    expect(LEGACY_RESOURCE_KEY).toBe(derivations.resourceKey);
    expect(legacyAesKey(LEGACY_RESOURCE_KEY).toString('hex')).toBe(derivations.resourceKeyAesHex);
  });
});

describe('legacy ciphertexts of the other implementation', () => {
  it.each(ciphertexts)('$plaintextText', async (vector) => {
    const key =
      vector.key === undefined
        ? legacyArchiveKey(Buffer.from(vector.keyFragmentText))
        : legacyAesKey(derivations[vector.key]);
    if (vector.key === undefined) expect(key.toString('hex')).toBe(vector.aesKeyHex);
    const encrypted = Readable.from([Buffer.from(vector.plaintextText)]).pipe(legacyEncrypt(key, IV));
    expect((await buffer(encrypted)).toString('hex')).toBe(vector.hex);
    const decrypted = Readable.from([Buffer.from(vector.hex, 'hex')]).pipe(legacyDecrypt(key));
    expect((await buffer(decrypted)).toString()).toBe(vector.plaintextText);
  });
});

describe('the legacy split', () => {
  it.each(splitSizes)('of %i bytes encrypts to %i and cuts at %i', (plaintextBytes, encryptedBytes, smallBytes) => {
    expect(legacyEncryptedBytes(plaintextBytes)).toBe(encryptedBytes);
    expect(legacySmallBytes(encryptedBytes)).toBe(smallBytes);
  });

  it.each(splits)('cuts $plaintextBytes bytes like the other implementation', async (vector) => {
    const plaintext = Buffer.from(Array.from({ length: vector.plaintextBytes }, (_, i) => (7 * i + 3) % 256));
    const key = legacyAesKey(LEGACY_RESOURCE_KEY);
    const whole = await buffer(Readable.from([plaintext]).pipe(legacyEncrypt(key, IV)));
    expect(whole).toHaveLength(vector.encryptedBytes);
    if (vector.plaintextSha256 !== undefined) expect(sha256(plaintext)).toBe(vector.plaintextSha256);
    if (vector.encryptedSha256 !== undefined) expect(sha256(whole)).toBe(vector.encryptedSha256);

    const parts = await splitLegacy(Readable.from([whole.subarray(0, 500), whole.subarray(500)]), vector.smallBytes);
    const big = await buffer(parts.big);
    expect(sha256(parts.small)).toBe(vector.smallSha256);
    expect(big).toHaveLength(vector.bigBytes);
    if (vector.bigSha256 !== undefined) expect(sha256(big)).toBe(vector.bigSha256);

    const joined = Readable.from([parts.small, big]).pipe(legacyDecrypt(key));
    expect((await buffer(joined)).equals(plaintext)).toBe(true);
  });
});
