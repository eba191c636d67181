import { createECDH } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { CryptoError } from './errors.js';
import { jwkFromPoint, softwareEcdh } from './p256.js';
import { GCM_TAG_BYTES, gcmOpen, gcmOpenInto, gcmSeal, gcmSealInto, hkdfSha256, hmacSha256 } from './primitives.js';

/** The platform's primitives as this lib calls them: a build of Node or OpenSSL that computes something else must not pass. */

function hex(text: string): Buffer {
  return Buffer.from(text, 'hex');
}

describe('HMAC-SHA-256 on RFC 4231', () => {
  it.each([
    ['0b'.repeat(20), '4869205468657265', 'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7'],
    [
      '4a656665',
      '7768617420646f2079612077616e7420666f72206e6f7468696e673f',
      '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
    ],
    ['aa'.repeat(20), 'dd'.repeat(50), '773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe'],
  ])('key %s', (key, data, mac) => {
    expect(hmacSha256(hex(key), hex(data)).toString('hex')).toBe(mac);
  });
});

describe('HKDF-SHA-256 on RFC 5869', () => {
  it.each([
    [
      '000102030405060708090a0b0c',
      'f0f1f2f3f4f5f6f7f8f9',
      '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
    ],
    ['', '', '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8'],
  ])('salt "%s", info "%s"', (salt, info, okm) => {
    const derived = hkdfSha256(hex('0b'.repeat(22)), hex(salt), hex(info), 42);
    expect(Buffer.from(derived).toString('hex')).toBe(okm);
  });
});

// McGrew and Viega, "The Galois/Counter Mode of Operation", test cases 13, 14 and 16.
describe('AES-256-GCM on the vectors of its specification', () => {
  const KEY_16 = 'feffe9928665731c6d6a8f9467308308'.repeat(2);
  it.each([
    ['00'.repeat(32), '00'.repeat(12), '', '', '', '530f8afbc74536b9a963b4f1c4cb738b'],
    [
      '00'.repeat(32),
      '00'.repeat(12),
      '',
      '00'.repeat(16),
      'cea7403d4d606b6e074ec5d3baf39d18',
      'd0d1c8a799996bf0265b98b5d48ab919',
    ],
    [
      KEY_16,
      'cafebabefacedbaddecaf888',
      'feedfacedeadbeeffeedfacedeadbeefabaddad2',
      'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39',
      '522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662',
      '76fc6ece0f4e1768cddf8853bb2d551b',
    ],
  ])('key %s', (key, nonce, aad, plaintext, ciphertext, tag) => {
    const sealed = gcmSeal(hex(key), hex(nonce), hex(aad), hex(plaintext));
    expect(sealed.toString('hex')).toBe(ciphertext + tag);
    expect(gcmOpen(hex(key), hex(nonce), hex(aad), sealed).toString('hex')).toBe(plaintext);
  });
});

/** Tests of one of the files of published vectors: see `origin` in each. */
function wycheproof(name: string): unknown[] {
  const text = readFileSync(new URL(`./fixtures/wycheproof-${name}.json`, import.meta.url), 'utf8');
  return (JSON.parse(text) as { readonly tests: unknown[] }).tests;
}

/** How each test of the files begins. */
interface Numbered {
  readonly id: number;
  readonly comment: string;
}

describe('Wycheproof’s vectors', () => {
  interface GcmTest extends Numbered {
    readonly key: string;
    readonly nonce: string;
    readonly aad: string;
    readonly message: string;
    readonly ciphertext: string;
    readonly tag: string;
    readonly valid: boolean;
  }

  it('of AES-256-GCM are sealed and opened as they say, the wrong ones refused', () => {
    const tests = wycheproof('aes-256-gcm') as readonly GcmTest[];
    const wrong: string[] = [];
    for (const { id, comment, valid, ...test } of tests) {
      const [key, nonce, aad] = [hex(test.key), hex(test.nonce), hex(test.aad)];
      const sealed = test.ciphertext + test.tag;
      const isSealedSo = gcmSeal(key, nonce, aad, hex(test.message)).toString('hex') === sealed;
      const isOpenedSo = [gcmOpen, gcmOpenIntoNew].every((open) => {
        try {
          return open(key, nonce, aad, hex(sealed)).toString('hex') === test.message && valid;
        } catch {
          return !valid;
        }
      });
      if (isSealedSo !== valid || !isOpenedSo) wrong.push(`${id}: ${comment}`);
    }
    expect(wrong).toEqual([]);
    expect([tests.length, tests.filter(({ valid }) => valid).length]).toEqual([48, 21]);
  });

  it('of HMAC-SHA-256 have the tags that they say, whole and cut off', () => {
    const tests = wycheproof('hmac-sha-256') as readonly {
      key: string;
      message: string;
      tag: string;
      valid: boolean;
    }[];
    const wrong = tests.filter(({ key, message, tag, valid }) => {
      const mac = hmacSha256(hex(key), hex(message)).toString('hex').slice(0, tag.length);
      const inParts = hmacSha256(hex(key), hex(message.slice(0, 8)), hex(message.slice(8))).toString('hex');
      return (mac === tag) !== valid || !inParts.startsWith(mac);
    });
    expect(wrong).toEqual([]);
    expect([tests.length, tests.filter(({ valid }) => valid).length]).toEqual([174, 66]);
  });

  it('of HKDF-SHA-256 give the keys that they say, and none where too much is asked for', () => {
    interface HkdfTest {
      readonly ikm: string;
      readonly salt: string;
      readonly info: string;
      readonly sizeBytes: number;
      readonly okm: string;
      readonly valid: boolean;
    }
    const tests = wycheproof('hkdf-sha-256') as readonly HkdfTest[];
    const derived = ({ ikm, salt, info, sizeBytes }: HkdfTest): string =>
      Buffer.from(hkdfSha256(hex(ikm), hex(salt), hex(info), sizeBytes)).toString('hex');
    for (const test of tests.filter(({ valid }) => valid)) expect(derived(test)).toBe(test.okm);
    for (const test of tests.filter(({ valid }) => !valid)) expect(() => derived(test)).toThrow('Invalid key length');
    expect([tests.length, tests.filter(({ valid }) => valid).length]).toEqual([105, 102]);
  });

  it('of ECDH on P-256 give the secrets that they say, and points that are compressed, off the curve or none are refused', async () => {
    interface EcdhTest extends Numbered {
      readonly point: string;
      readonly d: string;
      readonly shared: string;
      readonly result: 'valid' | 'invalid' | 'acceptable';
    }
    const tests = wycheproof('ecdh-p256') as readonly EcdhTest[];
    const wrong: string[] = [];
    let refused = 0;
    for (const { id, comment, point, d, shared, result } of tests) {
      const own = createECDH('prime256v1');
      own.setPrivateKey(hex(d));
      const ecdh = softwareEcdh({ ...jwkFromPoint(own.getPublicKey()), d: hex(d).toString('base64url') });
      const secret = await ecdh(hex(point)).catch((error: unknown) => {
        if (!(error instanceof CryptoError) || error.code !== 'keys.invalid') throw error;
        refused += 1;
        return undefined;
      });
      if (secret === undefined ? result === 'valid' : Buffer.from(secret).toString('hex') !== shared)
        wrong.push(`${id}: ${comment}`);
    }
    expect(wrong).toEqual([]);
    expect([tests.length, refused]).toEqual([216, 25]);
  });
});

const gcmOpenIntoNew: typeof gcmOpen = (key, nonce, aad, sealed) => {
  const target = Buffer.alloc(sealed.length - GCM_TAG_BYTES);
  gcmOpenInto(key, nonce, aad, sealed, target);
  return target;
};

describe('gcmOpen and gcmSeal', () => {
  const [key, nonce, aad] = [Buffer.alloc(32, 1), Buffer.alloc(12, 2), Buffer.from('place')];

  it.each([0, 1, 65_535, 65_536, 65_537, 200_000])('agree on %i bytes, whole or in pieces', (sizeBytes) => {
    const plaintext = Buffer.alloc(sizeBytes, 'what is sealed ');
    const sealed = gcmSeal(key, nonce, aad, plaintext);
    expect(sealed).toHaveLength(sizeBytes + 16);
    expect(gcmOpen(key, nonce, aad, sealed).equals(plaintext)).toBe(true);
    const target = Buffer.alloc(sizeBytes);
    gcmOpenInto(key, nonce, aad, sealed, target);
    expect(target.equals(plaintext)).toBe(true);
  });

  it('refuse a target of another length, and what is shorter than a tag', () => {
    const sealed = gcmSeal(key, nonce, aad, Buffer.alloc(10));
    for (const sizeBytes of [9, 11]) {
      expect(() => gcmOpenInto(key, nonce, aad, sealed, Buffer.alloc(sizeBytes))).toThrow(RangeError);
      expect(() => gcmSealInto(key, nonce, aad, Buffer.alloc(10), Buffer.alloc(sizeBytes + 16))).toThrow(RangeError);
    }
    expect(() => gcmOpen(key, nonce, aad, sealed.subarray(0, 15))).toThrow(RangeError);
  });
});
