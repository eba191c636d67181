import {
  constants,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  generateKeyPairSync,
  hash,
  type KeyObject,
  privateDecrypt,
} from 'node:crypto';

import { generateP256KeyPair, softwareEcdh } from '@azaion/crypto';
import { concatBytes, u32be, utf8 } from '@azaion/kernel';

import { keyObjectOf, makeCredential, type TpmCredential } from './make-credential.js';
import { TPM_ALG } from './tpm-algorithms.js';
import type { TpmPublic } from './tpm-public.js';
import { TpmReader } from './tpm-reader.js';

const NAME = new Uint8Array(34).fill(0xab);
const SECRET = new Uint8Array(32).fill(0x5a);
const LABEL = utf8('IDENTITY\0');

/** Recovers the seed of a credential, as the TPM of the endorsement key does. */
type SeedOf = (encryptedSecret: Uint8Array) => Promise<Uint8Array>;

function sizedIn(bytes: Uint8Array): Uint8Array {
  const reader = new TpmReader(bytes);
  const inside = reader.sized(1024);
  reader.end();
  return inside;
}

function rsa(exponent = 0x1_0001): { endorsement: TpmPublic; seedOf: SeedOf; publicKey: KeyObject } {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: exponent });
  const { n = '' } = publicKey.export({ format: 'jwk' });
  const key = { kind: 'rsa', scheme: TPM_ALG.null, modulus: Buffer.from(n, 'base64url'), exponent } as const;
  return {
    publicKey,
    endorsement: { attributes: 0, authPolicy: new Uint8Array(), key, name: NAME },
    seedOf: (encryptedSecret) =>
      Promise.resolve(
        privateDecrypt(
          { key: privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256', oaepLabel: LABEL },
          sizedIn(encryptedSecret),
        ),
      ),
  };
}

async function ecc(): Promise<{ endorsement: TpmPublic; seedOf: SeedOf; publicKey: KeyObject }> {
  const { point, privateJwk } = await generateP256KeyPair();
  const key = { kind: 'ecc', scheme: TPM_ALG.null, point } as const;
  return {
    publicKey: createPrivateKey({ format: 'jwk', key: { ...privateJwk } }),
    endorsement: { attributes: 0, authPolicy: new Uint8Array(), key, name: NAME },
    seedOf: async (encryptedSecret) => {
      const reader = new TpmReader(sizedIn(encryptedSecret));
      const [x, y] = [reader.sized(32), reader.sized(32)];
      reader.end();
      const shared = await softwareEcdh(privateJwk)(concatBytes(Uint8Array.of(4), x, y));
      return hash('sha256', concatBytes(u32be(1), shared, LABEL, x, point.subarray(1, 33)), 'buffer');
    },
  };
}

/** `TPM2_ActivateCredential` of a key with this name (Part 1, 24). `undefined` where the TPM refuses. */
async function activated(
  { credentialBlob, encryptedSecret }: TpmCredential,
  seedOf: SeedOf,
  name: Uint8Array,
): Promise<Uint8Array | undefined> {
  const seed = await seedOf(encryptedSecret);
  const kdfa = (label: string, context: Uint8Array, bits: number): Buffer =>
    createHmac('sha256', seed)
      .update(concatBytes(u32be(1), utf8(`${label}\0`), context, u32be(bits)))
      .digest()
      .subarray(0, bits / 8);
  const blob = sizedIn(credentialBlob);
  const mac = new TpmReader(blob).sized(64);
  const identity = blob.subarray(2 + mac.length);
  const expected = createHmac('sha256', kdfa('INTEGRITY', new Uint8Array(), 256))
    .update(identity)
    .update(name)
    .digest();
  if (!expected.equals(mac)) return undefined;
  const cipher = createDecipheriv('aes-128-cfb', kdfa('STORAGE', name, 128), Buffer.alloc(16));
  return sizedIn(concatBytes(cipher.update(identity), cipher.final()));
}

describe.each([
  ['RSA', () => Promise.resolve(rsa())],
  ['ECC', ecc],
])('makeCredential for an endorsement key of %s', (_, create) => {
  it('seals a secret that its TPM gives out for the named key', async () => {
    const { endorsement, seedOf } = await create();
    for (const secret of [SECRET, new Uint8Array(0), Uint8Array.of(1)])
      expect(await activated(await makeCredential(endorsement, NAME, secret), seedOf, NAME)).toEqual(secret);
  });

  it('seals it for no other name', async () => {
    const { endorsement, seedOf } = await create();
    const credential = await makeCredential(endorsement, NAME, SECRET);
    expect(await activated(credential, seedOf, new Uint8Array(34))).toBeUndefined();
  });

  it('seals it under a seed of its own every time, and shows nothing of it', async () => {
    const { endorsement, seedOf } = await create();
    const [one, two] = [
      await makeCredential(endorsement, NAME, SECRET),
      await makeCredential(endorsement, NAME, SECRET),
    ];
    const seeds = [await seedOf(one.encryptedSecret), await seedOf(two.encryptedSecret)];
    expect(seeds.map(({ length }) => length)).toEqual([32, 32]);
    expect(Buffer.from(seeds[0]!).equals(seeds[1]!)).toBe(false);
    expect(Buffer.from(one.credentialBlob).includes(Buffer.from(SECRET))).toBe(false);
    expect(Buffer.from(one.credentialBlob).equals(two.credentialBlob)).toBe(false);
  });
});

describe('keyObjectOf', () => {
  it.each([3, 0x1_0001])('is the RSA key of the public area, exponent %i', (exponent) => {
    const { endorsement, publicKey } = rsa(exponent);
    expect(keyObjectOf(endorsement).equals(publicKey)).toBe(true);
  });

  it('is the point of the public area', async () => {
    const { endorsement, publicKey } = await ecc();
    const { x, y } = publicKey.export({ format: 'jwk' });
    expect(keyObjectOf(endorsement).export({ format: 'jwk' })).toEqual({ kty: 'EC', crv: 'P-256', x, y });
  });
});
