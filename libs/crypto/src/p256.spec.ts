import { readFileSync } from 'node:fs';

import { CryptoError } from './errors.js';
import {
  ephemeralRecipient,
  ES256_SIGNATURE_BYTES,
  generateP256KeyPair,
  importSigningKey,
  importVerificationKey,
  isPrivateJwk,
  jwkFromPoint,
  keyThumbprint,
  P256_POINT_BYTES,
  pointFromJwk,
  signRaw,
  softwareEcdh,
  verifyRaw,
} from './p256.js';
import { signDocument, verifyDocument } from './signed-document.js';

const INVALID = expect.objectContaining({ code: 'keys.invalid' }) as Error;

/** A point with one bit of Y changed: no longer on the curve. */
function offCurve(point: Uint8Array): Uint8Array {
  const changed = Uint8Array.from(point);
  changed[P256_POINT_BYTES - 1]! ^= 1;
  return changed;
}

describe('points and JWKs of P-256', () => {
  it('convert into each other', async () => {
    const { publicJwk, point } = await generateP256KeyPair();
    expect(point).toHaveLength(P256_POINT_BYTES);
    expect(jwkFromPoint(point)).toEqual(publicJwk);
    expect(pointFromJwk(jwkFromPoint(point))).toEqual(point);
  });

  it('refuses points that are not on the curve, compressed, infinite or of another length', async () => {
    const { point } = await generateP256KeyPair();
    const compressed = Uint8Array.of(2 + (point[64]! & 1), ...point.subarray(1, 33));
    const hybrid = Uint8Array.from(point);
    hybrid[0] = 6 + (point[64]! & 1);
    const longer = Uint8Array.of(...point, 0);
    for (const bad of [
      offCurve(point),
      compressed,
      hybrid,
      longer,
      Uint8Array.of(0),
      new Uint8Array(65),
      new Uint8Array(0),
    ])
      expect(() => jwkFromPoint(bad)).toThrow(INVALID);
  });

  it('refuses JWKs whose coordinates are short, long, not canonical, or off the curve', async () => {
    const { publicJwk, point } = await generateP256KeyPair();
    const off = offCurve(point);
    for (const y of [
      '',
      publicJwk.y.slice(1),
      `${publicJwk.y}=`,
      `${publicJwk.y}A`,
      Buffer.from(off.subarray(33)).toString('base64url'),
    ])
      expect(() => pointFromJwk({ ...publicJwk, y })).toThrow(INVALID);
  });

  it('tells private keys from everything else', async () => {
    const { privateJwk, publicJwk } = await generateP256KeyPair();
    const other = await generateP256KeyPair();
    expect(isPrivateJwk(privateJwk)).toBe(true);
    for (const no of [
      null,
      'key',
      publicJwk,
      { ...privateJwk, kid: '1' },
      { ...privateJwk, d: 7 },
      { ...privateJwk, d: other.privateJwk.d },
      { ...privateJwk, d: Buffer.alloc(32).toString('base64url') },
    ])
      expect(isPrivateJwk(no)).toBe(false);
  });
});

describe('keyThumbprint', () => {
  // The key of RFC 7517 appendix A.1; the value was computed with another implementation (SHA-256 of the canonical JSON).
  it('follows RFC 7638 and ignores other members', async () => {
    const jwk = {
      kty: 'EC',
      crv: 'P-256',
      x: 'MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4',
      y: '4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM',
    } as const;
    expect(await keyThumbprint(jwk)).toBe('cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s');
    expect(await keyThumbprint({ ...jwk, kid: 'other' } as typeof jwk)).toBe(await keyThumbprint(jwk));
  });
});

describe('softwareEcdh', () => {
  it('agrees with the other side on 32 bytes', async () => {
    const own = await generateP256KeyPair();
    const other = await ephemeralRecipient();
    const shared = await softwareEcdh(own.privateJwk)(other.point);
    expect(shared).toHaveLength(32);
    expect(await other.ecdh(own.point)).toEqual(shared);
  });

  // NIST CAVP, "ECC CDH Primitive (SP800-56A)", P-256, COUNT = 0.
  it('gives the X coordinate of the NIST vector', async () => {
    const b64 = (hex: string): string => Buffer.from(hex, 'hex').toString('base64url');
    const ecdh = softwareEcdh({
      kty: 'EC',
      crv: 'P-256',
      d: b64('7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534'),
      x: b64('ead218590119e8876b29146ff89ca61770c4edbbf97d38ce385ed281d8a6b230'),
      y: b64('28af61281fd35e2fa7002523acc85a429cb06ee6648325389f59edfce1405141'),
    });
    const sender = Buffer.from(
      '04700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287db71e509e3fd9b060ddb20ba5c51dcc5948d46fbf640dfe0441782cab85fa4ac',
      'hex',
    );
    expect(Buffer.from(await ecdh(sender)).toString('hex')).toBe(
      '46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b',
    );
  });

  it('refuses points off the curve and private keys with a foreign public half', async () => {
    const own = await generateP256KeyPair();
    const other = await generateP256KeyPair();
    await expect(softwareEcdh(own.privateJwk)(offCurve(other.point))).rejects.toThrow(INVALID);
    expect(() => softwareEcdh({ ...own.privateJwk, ...other.publicJwk })).toThrow(INVALID);
  });
});

describe('signRaw and verifyRaw', () => {
  it('verifies what was signed and refuses every change', async () => {
    const { privateJwk, publicJwk } = await generateP256KeyPair();
    const message = Buffer.from('message');
    const signature = signRaw(privateJwk, message);
    expect(signature).toHaveLength(ES256_SIGNATURE_BYTES);
    expect(verifyRaw(publicJwk, message, signature)).toBe(true);
    expect(verifyRaw(publicJwk, Buffer.from('messagf'), signature)).toBe(false);
    expect(verifyRaw((await generateP256KeyPair()).publicJwk, message, signature)).toBe(false);
    for (let bit = 0; bit < 8 * ES256_SIGNATURE_BYTES; bit += 1) {
      const changed = Uint8Array.from(signature);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      expect(verifyRaw(publicJwk, message, changed)).toBe(false);
    }
    for (const bad of [new Uint8Array(0), new Uint8Array(64), signature.subarray(1), Uint8Array.of(...signature, 0)])
      expect(verifyRaw(publicJwk, message, bad)).toBe(false);
  });

  it('refuses keys that are not on the curve', async () => {
    const { privateJwk, publicJwk } = await generateP256KeyPair();
    const y = publicJwk.x;
    expect(() => verifyRaw({ ...publicJwk, y }, Buffer.alloc(1), Buffer.alloc(64))).toThrow(CryptoError);
    expect(() => signRaw({ ...privateJwk, y }, Buffer.alloc(1))).toThrow(INVALID);
  });
});

describe('importSigningKey and importVerificationKey', () => {
  it('make keys that sign and verify documents', async () => {
    const { privateJwk, publicJwk } = await generateP256KeyPair();
    const kid = await keyThumbprint(publicJwk);
    const jws = await signDocument({ one: 1 }, 'test+jws', await importSigningKey(kid, privateJwk));
    expect(await verifyDocument(jws, 'test+jws', await importVerificationKey(kid, publicJwk))).toEqual({ one: 1 });
  });

  it('refuse invalid keys', async () => {
    const { privateJwk, publicJwk } = await generateP256KeyPair();
    const other = await generateP256KeyPair();
    const zero = Buffer.alloc(32).toString('base64url');
    for (const d of [other.privateJwk.d, zero, privateJwk.d.slice(1), ''])
      await expect(importSigningKey('1', { ...privateJwk, d })).rejects.toThrow(INVALID);
    await expect(importVerificationKey('1', { ...publicJwk, y: other.publicJwk.y })).rejects.toThrow(INVALID);
  });
});

describe('verifyRaw on Wycheproof’s signatures', () => {
  /** Published vectors: see `origin` in the file. */
  const { groups } = JSON.parse(readFileSync(new URL('./fixtures/wycheproof-es256.json', import.meta.url), 'utf8')) as {
    readonly groups: readonly {
      readonly key: string;
      readonly tests: readonly {
        readonly id: number;
        readonly comment: string;
        readonly message: string;
        readonly signature: string;
        readonly valid: boolean;
      }[];
    }[];
  };

  it('accepts the valid ones and refuses the others, each by itself', () => {
    const wrong: string[] = [];
    for (const { key, tests } of groups) {
      const jwk = jwkFromPoint(Buffer.from(key, 'hex'));
      for (const { id, comment, message, signature, valid } of tests)
        if (verifyRaw(jwk, Buffer.from(message, 'hex'), Buffer.from(signature, 'hex')) !== valid)
          wrong.push(`${String(id)}: ${comment}`);
    }
    expect(wrong).toEqual([]);
    expect(groups.flatMap(({ tests }) => tests)).toHaveLength(262);
  });
});
