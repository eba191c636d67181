import { createCipheriv, randomBytes } from 'node:crypto';
import { Readable, type Transform } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { finished, pipeline } from 'node:stream/promises';

import fc from 'fast-check';

import { CryptoError } from '../errors.js';
import { legacyBlockDecipher, legacyDecrypt, legacyEncrypt, legacyEncrypted, legacyEncryptedBytes } from './cipher.js';

const KEY = randomBytes(32);

/** Cuts bytes into pieces of the given sizes, over and over. */
function* pieces(bytes: Buffer, sizes: readonly number[]): Generator<Buffer> {
  for (let at = 0, i = 0; at < bytes.length; i += 1) {
    const end = Math.min(bytes.length, at + sizes[i % sizes.length]!);
    yield bytes.subarray(at, end);
    at = end;
  }
}

/** Everything a transform gave out before it ended or failed, and the failure. */
async function drain(
  input: Iterable<Buffer>,
  transform: Transform,
): Promise<{ output: Buffer; error: CryptoError | undefined }> {
  const parts: Buffer[] = [];
  let error: CryptoError | undefined;
  await pipeline(Readable.from(input), transform, async (source: AsyncIterable<Buffer>) => {
    for await (const part of source) parts.push(part);
  }).catch((cause: unknown) => {
    error = cause as CryptoError;
  });
  return { output: Buffer.concat(parts), error };
}

async function encrypted(plaintext: Buffer): Promise<Buffer> {
  return buffer(Readable.from([plaintext]).pipe(legacyEncrypt(KEY)));
}

describe('legacyEncrypt and legacyDecrypt', () => {
  it.each([0, 1, 15, 16, 17, 31, 32, 33, 65_535, 65_536, 1_000_000])('round-trip %i bytes', async (sizeBytes) => {
    const plaintext = randomBytes(sizeBytes);
    const sealed = await encrypted(plaintext);
    expect(sealed).toHaveLength(legacyEncryptedBytes(sizeBytes));
    expect((await drain([sealed], legacyDecrypt(KEY))).output.equals(plaintext)).toBe(true);
  });

  it('do not depend on how the stream is cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 200 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 }),
        async (bytes, sizes) => {
          const plaintext = Buffer.from(bytes);
          const sealed = await buffer(Readable.from(pieces(plaintext, sizes)).pipe(legacyEncrypt(KEY)));
          const opened = await drain(pieces(sealed, sizes), legacyDecrypt(KEY));
          expect(opened).toEqual({ output: plaintext, error: undefined });
        },
      ),
    );
  });

  it('use a fresh IV every time', async () => {
    const plaintext = Buffer.alloc(32);
    expect((await encrypted(plaintext)).equals(await encrypted(plaintext))).toBe(false);
  });
});

describe('legacyEncrypted', () => {
  it('gives what legacyDecrypt opens, and each piece back once it was encrypted', async () => {
    const plaintext = randomBytes(50_000);
    const own = [...pieces(plaintext, [16_384])].map((piece) => new Uint8Array(piece));
    const encrypted = await buffer(Readable.from(legacyEncrypted(KEY, Readable.from(own))));
    expect(encrypted).toHaveLength(legacyEncryptedBytes(plaintext.length));
    expect(await drain([encrypted], legacyDecrypt(KEY))).toEqual({ output: plaintext, error: undefined });
    expect(own.map(({ length }) => length)).toEqual(own.map(() => 0));
  });
});

describe('legacyDecrypt of what is not a legacy ciphertext', () => {
  it.each([0, 1, 15, 16, 17, 31, 33, 47])('refuses a length of %i bytes', async (sizeBytes) => {
    const sealed = (await encrypted(Buffer.alloc(40))).subarray(0, sizeBytes);
    expect((await drain([sealed], legacyDecrypt(KEY))).error?.code).toBe('legacy.invalid');
  });

  it('answers a wrong key, bad padding and a wrong length alike, without a cause', async () => {
    const sealed = await encrypted(Buffer.alloc(40));
    const unpadded = createCipheriv('aes-256-cbc', KEY, Buffer.alloc(16)).setAutoPadding(false);
    const badPadding = Buffer.concat([Buffer.alloc(16), unpadded.update(Buffer.alloc(32)), unpadded.final()]);
    const overlong = createCipheriv('aes-256-cbc', KEY, Buffer.alloc(16)).setAutoPadding(false);
    const padding17 = Buffer.concat([Buffer.alloc(16), overlong.update(Buffer.alloc(32, 17)), overlong.final()]);
    const errors = await Promise.all([
      drain([badPadding], legacyDecrypt(KEY)),
      drain([padding17], legacyDecrypt(KEY)),
      drain([sealed.subarray(0, 33)], legacyDecrypt(KEY)),
      drain([], legacyDecrypt(KEY)),
    ]);
    // A wrong key passes for a right one with a probability of 1/256: of 40 keys, nearly all must be refused, all in the same way.
    const guesses = await Promise.all(
      Array.from({ length: 40 }, () => drain([sealed], legacyDecrypt(randomBytes(32)))),
    );
    const refusals = guesses.filter(({ error }) => error !== undefined);
    expect(refusals.length).toBeGreaterThan(30);
    for (const { error } of [...errors, ...refusals]) {
      expect(error).toBeInstanceOf(CryptoError);
      expect([error?.code, error?.message, error?.cause, error?.details]).toEqual([
        'legacy.invalid',
        errors[0].error?.message,
        undefined,
        {},
      ]);
    }
  });

  it('holds the last block back until the padding was checked', async () => {
    const sealed = await encrypted(Buffer.alloc(32, 200)); // IV, two blocks, a block of padding
    const decrypt = legacyDecrypt(KEY);
    decrypt.write(sealed.subarray(0, 48));
    expect(decrypt.read()).toEqual(Buffer.alloc(16, 200));
    decrypt.end();
    await expect(finished(decrypt)).rejects.toMatchObject({ code: 'legacy.invalid' });
    expect(decrypt.read()).toBeNull();
  });
});

describe('legacyBlockDecipher', () => {
  it.each([0, 1, 7])('decrypts whole blocks from block %i on, with the padding as it stands', async (first) => {
    const plaintext = randomBytes(16 * 10 - 3);
    const sealed = await encrypted(plaintext);
    const decrypt = legacyBlockDecipher(KEY, sealed.subarray(16 * first, 16 * (first + 1)));
    const [some, rest] = [16 * (first + 1), 16 * (first + 3)];
    const opened = Buffer.concat([decrypt(sealed.subarray(some, rest)), decrypt(sealed.subarray(rest))]);
    expect(opened.equals(Buffer.concat([plaintext, Buffer.alloc(3, 3)]).subarray(16 * first))).toBe(true);
  });
});

describe('legacyDecrypt of a long stream', () => {
  it('keeps no more than the piece it works on', async () => {
    const pieceBytes = 64 * 1024;
    const decrypt = legacyDecrypt(KEY);
    let largestBufferedBytes = 0;
    let receivedBytes = 0;
    const source = Readable.from(
      (function* () {
        for (let i = 0; i < 512; i += 1) {
          largestBufferedBytes = Math.max(largestBufferedBytes, decrypt.readableLength + decrypt.writableLength);
          yield Buffer.alloc(pieceBytes, i);
        }
      })(),
    );
    await pipeline(source, legacyEncrypt(KEY), decrypt, async (plaintext: AsyncIterable<Buffer>) => {
      for await (const part of plaintext) receivedBytes += part.length;
    });
    expect(receivedBytes).toBe(512 * pieceBytes);
    expect(largestBufferedBytes).toBeLessThanOrEqual(8 * pieceBytes);
  });
});
