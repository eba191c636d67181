import {
  constants,
  createCipheriv,
  createHmac,
  createPublicKey,
  hash,
  type KeyObject,
  publicEncrypt,
  randomBytes,
} from 'node:crypto';

import { generateP256KeyPair, softwareEcdh } from '@azaion/crypto';
import { concatBytes, toBase64Url, u32be, utf8 } from '@azaion/kernel';

import { sizedBytes, type TpmPublic } from './tpm-public.js';

const SEED_BYTES = 32;
const SYMMETRIC_BYTES = 16;
const COORDINATE_BYTES = 32;
const IDENTITY = utf8('IDENTITY\0');

/** A secret that only the TPM of an endorsement key gives out, and only where it holds the named key (`TPM2_ActivateCredential`). */
export interface TpmCredential {
  /** `TPM2B_ID_OBJECT`. */
  readonly credentialBlob: Uint8Array;
  /** `TPM2B_ENCRYPTED_SECRET`. */
  readonly encryptedSecret: Uint8Array;
}

/**
 * Seals a secret to an endorsement key and the name of another key in the same TPM. Source: TPM 2.0 Library, Part 1, 24 and annexes B.10.4, C.6.4.
 *
 * @param endorsement - A storage key with AES-128-CFB, as the TCG's templates make it.
 * @param name - Of the key that must be in the same TPM.
 * @param secret - At most 32 bytes.
 */
export async function makeCredential(
  endorsement: TpmPublic,
  name: Uint8Array,
  secret: Uint8Array,
): Promise<TpmCredential> {
  const { seed, encryptedSecret } = await seedFor(endorsement);
  const cipher = createCipheriv(
    'aes-128-cfb',
    kdfa(seed, 'STORAGE', name, SYMMETRIC_BYTES),
    Buffer.alloc(SYMMETRIC_BYTES),
  );
  const identity = concatBytes(cipher.update(sizedBytes(secret)), cipher.final());
  const mac = createHmac('sha256', kdfa(seed, 'INTEGRITY', new Uint8Array(), SEED_BYTES))
    .update(identity)
    .update(name);
  return {
    credentialBlob: sizedBytes(concatBytes(sizedBytes(mac.digest()), identity)),
    encryptedSecret: sizedBytes(encryptedSecret),
  };
}

/** The public key of an RSA or ECC public area for use outside of a TPM. */
export function keyObjectOf({ key }: TpmPublic): KeyObject {
  if (key.kind === 'ecc') {
    const [x, y] = [key.point.subarray(1, 1 + COORDINATE_BYTES), key.point.subarray(1 + COORDINATE_BYTES)];
    return createPublicKey({ format: 'jwk', key: { kty: 'EC', crv: 'P-256', x: toBase64Url(x), y: toBase64Url(y) } });
  }
  const exponent = u32be(key.exponent);
  const significant = exponent.subarray(exponent.findIndex((byte) => byte !== 0));
  return createPublicKey({
    format: 'jwk',
    key: { kty: 'RSA', n: toBase64Url(key.modulus), e: toBase64Url(significant) },
  });
}

async function seedFor(
  endorsement: TpmPublic,
): Promise<{ readonly seed: Uint8Array; readonly encryptedSecret: Uint8Array }> {
  const { key } = endorsement;
  if (key.kind === 'rsa') {
    const seed = randomBytes(SEED_BYTES);
    const padding = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256', oaepLabel: IDENTITY };
    return { seed, encryptedSecret: publicEncrypt({ key: keyObjectOf(endorsement), ...padding }, seed) };
  }
  const ephemeral = await generateP256KeyPair();
  const shared = await softwareEcdh(ephemeral.privateJwk)(key.point);
  const x = (point: Uint8Array): Uint8Array => point.subarray(1, 1 + COORDINATE_BYTES);
  const y = (point: Uint8Array): Uint8Array => point.subarray(1 + COORDINATE_BYTES);
  // KDFe (Part 1, 11.4.10.3), one block.
  const seed = hash('sha256', concatBytes(u32be(1), shared, IDENTITY, x(ephemeral.point), x(key.point)), 'buffer');
  return { seed, encryptedSecret: concatBytes(sizedBytes(x(ephemeral.point)), sizedBytes(y(ephemeral.point))) };
}

/** KDFa (Part 1, 11.4.10.2), one block. */
function kdfa(key: Uint8Array, label: string, context: Uint8Array, length: number): Uint8Array {
  const input = concatBytes(u32be(1), utf8(`${label}\0`), context, u32be(length * 8));
  return createHmac('sha256', key).update(input).digest().subarray(0, length);
}
