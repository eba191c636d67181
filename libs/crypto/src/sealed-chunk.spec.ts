import { createCipheriv, randomBytes } from 'node:crypto';
import { constants, zstdCompressSync } from 'node:zlib';

import fc from 'fast-check';

import { u32be } from '@azaion/kernel';

import { chunkHash, deriveChunkKey } from './chunk-keys.js';
import {
  CHUNK_OVERHEAD_BYTES,
  type ChunkSecrets,
  MAX_CHUNK_BYTES,
  openChunk,
  openChunkInPool,
  sealChunk,
} from './sealed-chunk.js';

const MIN = 32 * 1024;
const AVERAGE = 128 * 1024;
const MAX = MAX_CHUNK_BYTES;
const INVALID = expect.objectContaining({ code: 'chunk.invalid' }) as Error;

function secretsOf(plaintext: Uint8Array): ChunkSecrets {
  const h = chunkHash(plaintext);
  return { h, key: deriveChunkKey(Buffer.alloc(32, 1), h), plaintextBytes: plaintext.length };
}

/** What somebody can make who holds the chunk's key: a valid tag over any codec and payload. */
function forge(codec: number, payload: Uint8Array, secrets: ChunkSecrets): Buffer {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', secrets.key, nonce);
  const aad = [Buffer.from('azaion-chunk-v2'), Uint8Array.of(codec), secrets.h, u32be(secrets.plaintextBytes)];
  cipher.setAAD(Buffer.concat(aad));
  return Buffer.concat([Uint8Array.of(codec), nonce, cipher.update(payload), cipher.final(), cipher.getAuthTag()]);
}

/** Its middle compresses well, and all of it not at all. */
function middleOfZeros(sizeBytes: number): Buffer {
  const bytes = randomBytes(sizeBytes);
  const middle = 4096;
  return bytes.fill(0, (sizeBytes - middle) / 2, (sizeBytes + middle) / 2);
}

describe('sealChunk and openChunk', () => {
  it.each([1, MIN - 1, MIN, MIN + 1, AVERAGE, MAX - 1, MAX])('round-trip %i bytes', (sizeBytes) => {
    for (const plaintext of [randomBytes(sizeBytes), Buffer.alloc(sizeBytes, 7)]) {
      const secrets = secretsOf(plaintext);
      const sealed = sealChunk(plaintext, secrets);
      expect(sealed.length).toBeLessThanOrEqual(sizeBytes + CHUNK_OVERHEAD_BYTES);
      expect(openChunk(sealed, secrets).equals(plaintext)).toBe(true);
    }
  });

  it('round-trip any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 3000 }), (plaintext) => {
        const secrets = secretsOf(plaintext);
        expect(openChunk(sealChunk(plaintext, secrets), secrets).equals(plaintext)).toBe(true);
      }),
    );
  });

  it.each([0, MAX + 1])('refuse %i bytes', (sizeBytes) => {
    const plaintext = Buffer.alloc(sizeBytes);
    const secrets = secretsOf(plaintext);
    expect(() => sealChunk(plaintext, secrets)).toThrow(RangeError);
    expect(() => openChunk(forge(0, plaintext, secrets), secrets)).toThrow(INVALID);
  });

  it.each([-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])('refuse a stated length of %d', (plaintextBytes) => {
    const plaintext = Buffer.alloc(100);
    const secrets = secretsOf(plaintext);
    expect(() => openChunk(sealChunk(plaintext, secrets), { ...secrets, plaintextBytes })).toThrow(INVALID);
  });

  it('refuse to seal under another length than the stated one', () => {
    const plaintext = Buffer.alloc(10);
    expect(() => sealChunk(plaintext, { ...secretsOf(plaintext), plaintextBytes: 11 })).toThrow(RangeError);
  });

  it('use a fresh nonce every time', () => {
    const plaintext = Buffer.alloc(100, 7);
    const secrets = secretsOf(plaintext);
    expect(sealChunk(plaintext, secrets).equals(sealChunk(plaintext, secrets))).toBe(false);
  });
});

describe('sealChunk', () => {
  it.each([1000, AVERAGE])('compresses %i bytes of text', (sizeBytes) => {
    const plaintext = Buffer.from('a line of text\n'.repeat(sizeBytes / 10)).subarray(0, sizeBytes);
    const sealed = sealChunk(plaintext, secretsOf(plaintext));
    expect(sealed[0]).toBe(1);
    expect(sealed.length).toBeLessThan(sizeBytes / 4);
  });

  it.each([1000, AVERAGE])('stores %i random bytes', (sizeBytes) => {
    const plaintext = randomBytes(sizeBytes);
    const sealed = sealChunk(plaintext, secretsOf(plaintext));
    expect(sealed[0]).toBe(0);
    expect(sealed).toHaveLength(sizeBytes + CHUNK_OVERHEAD_BYTES);
  });

  it('stores what saves less than 5 %', () => {
    const plaintext = Buffer.concat([randomBytes(9700), Buffer.alloc(300)]);
    expect(sealChunk(plaintext, secretsOf(plaintext))[0]).toBe(0);
  });
});

describe('sealChunk into memory that is there', () => {
  it.each([
    ['random bytes', () => randomBytes(AVERAGE)],
    ['text', () => Buffer.from('a line of text\n'.repeat(AVERAGE / 10)).subarray(0, AVERAGE)],
    ['what a sample of looks worthwhile, and is not', () => middleOfZeros(AVERAGE)],
  ])('leaves nothing to the collector that is as large as %s', (_, make) => {
    const plaintext = make();
    const secrets = secretsOf(plaintext);
    const into = new Uint8Array(plaintext.length + CHUNK_OVERHEAD_BYTES);
    sealChunk(plaintext, secrets, into);
    const before = process.memoryUsage().arrayBuffers;
    for (let round = 0; round < 20; round++) sealChunk(plaintext, secrets, into);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(AVERAGE);
  });

  it.each([1, 100, 4095, 4096, 8192 - 4096, 8192, 20_000])(
    'takes nobody the memory that small results share, with %i bytes',
    (sizeBytes) => {
      const others = Array.from({ length: 20 }, (_, index) => Buffer.from(`what stands beside it ${index}`));
      for (const plaintext of [randomBytes(sizeBytes), Buffer.alloc(sizeBytes, 7)]) {
        const secrets = secretsOf(plaintext);
        expect(openChunk(sealChunk(plaintext, secrets), secrets).equals(plaintext)).toBe(true);
      }
      others.push(...Array.from({ length: 20 }, (_, index) => Buffer.from(`what stands beside it ${index}`)));
      expect(others.map(String)).toEqual(others.map((_, index) => `what stands beside it ${index % 20}`));
    },
  );
});

describe('openChunk of changed bytes', () => {
  // Precondition: the plaintext is released only after tag and hash were checked.
  it.each([
    ['stored', randomBytes(40)],
    ['compressed', Buffer.alloc(400, 7)],
  ])('releases nothing when any single bit of a %s chunk is flipped', (_name, plaintext) => {
    const secrets = secretsOf(plaintext);
    const sealed = sealChunk(plaintext, secrets);
    for (let bit = 0; bit < 8 * sealed.length; bit += 1) {
      const changed = Buffer.from(sealed);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => openChunk(changed, secrets)).toThrow(INVALID);
    }
  });

  it('refuses every truncation and every extension', () => {
    const plaintext = randomBytes(40);
    const secrets = secretsOf(plaintext);
    const sealed = sealChunk(plaintext, secrets);
    for (let sizeBytes = 0; sizeBytes < sealed.length; sizeBytes += 1)
      expect(() => openChunk(sealed.subarray(0, sizeBytes), secrets)).toThrow(INVALID);
    expect(() => openChunk(Buffer.concat([sealed, Buffer.alloc(1)]), secrets)).toThrow(INVALID);
    const compressed = Buffer.alloc(400, 7);
    const longer = Buffer.concat([sealChunk(compressed, secretsOf(compressed)), Buffer.alloc(1)]);
    expect(() => openChunk(longer, secretsOf(compressed))).toThrow(INVALID);
  });

  it('refuses another chunk, also of the same length', () => {
    const [one, other] = [randomBytes(40), randomBytes(40)];
    expect(() => openChunk(sealChunk(other, secretsOf(other)), secretsOf(one))).toThrow(INVALID);
  });

  it('refuses another stated length', () => {
    const plaintext = Buffer.alloc(400, 7);
    const secrets = secretsOf(plaintext);
    for (const plaintextBytes of [399, 401])
      expect(() => openChunk(sealChunk(plaintext, secrets), { ...secrets, plaintextBytes })).toThrow(INVALID);
  });
});

describe('openChunk of bytes forged by a co-reader, who holds the key', () => {
  const plaintext = Buffer.from('the content that the publisher signed');
  const secrets = secretsOf(plaintext);

  it('opens an honest encoding of the forger: the adversary of these tests works', () => {
    expect(openChunk(forge(0, plaintext, secrets), secrets).equals(plaintext)).toBe(true);
  });

  // The tag is right: only the hash refuses it.
  it('refuses other content, stored or compressed', () => {
    const other = Buffer.from('the content that the forger wants now');
    expect(other).toHaveLength(plaintext.length);
    expect(() => openChunk(forge(0, other, secrets), secrets)).toThrow(INVALID);
    expect(() => openChunk(forge(0, Buffer.alloc(0), secrets), secrets)).toThrow(INVALID);
    const long = Buffer.alloc(500, 7);
    const longSecrets = secretsOf(long);
    expect(() => openChunk(forge(1, zstdCompressSync(Buffer.alloc(500, 8)), longSecrets), longSecrets)).toThrow(
      INVALID,
    );
  });

  it.each([2, 3, 0x7f, 0xff])('names codec %i as unknown once its tag was right', (codec) => {
    expect(() => openChunk(forge(codec, plaintext, secrets), secrets)).toThrow(
      expect.objectContaining({ code: 'chunk.unsupported-codec', details: { codec } }) as Error,
    );
  });
});

describe('openChunkInPool', () => {
  it.each([1, MIN - 1, MIN, AVERAGE, MAX])('opens %i bytes, many at a time', async (sizeBytes) => {
    const plaintexts = Array.from({ length: 8 }, (_, index) =>
      index % 2 === 0 ? randomBytes(sizeBytes) : Buffer.alloc(sizeBytes, index),
    );
    const opening = plaintexts.map((plaintext) => {
      const secrets = secretsOf(plaintext);
      return openChunkInPool(sealChunk(plaintext, secrets), secrets);
    });
    expect((await Promise.all(opening)).every((opened, index) => opened.equals(plaintexts[index]!))).toBe(true);
  });

  it('releases nothing when any single bit is flipped, of another length, or of what a co-reader forged', async () => {
    const plaintext = randomBytes(40);
    const secrets = secretsOf(plaintext);
    const sealed = sealChunk(plaintext, secrets);
    for (let bit = 0; bit < 8 * sealed.length; bit += 1) {
      const changed = Buffer.from(sealed);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      await expect(openChunkInPool(changed, secrets)).rejects.toEqual(INVALID);
    }
    for (const plaintextBytes of [-1, 0, 39, 41, Number.NaN, MAX + 1])
      await expect(openChunkInPool(sealed, { ...secrets, plaintextBytes })).rejects.toEqual(INVALID);
    // The tag is right: only the hash refuses it.
    await expect(openChunkInPool(forge(0, Buffer.alloc(40, 9), secrets), secrets)).rejects.toEqual(INVALID);
    await expect(openChunkInPool(forge(7, plaintext, secrets), secrets)).rejects.toMatchObject({
      code: 'chunk.unsupported-codec',
    });
  });
});

describe('openChunk of crafted zstd frames (RFC 8878)', () => {
  const plaintext = Buffer.alloc(1000, 7);
  const secrets = secretsOf(plaintext);
  const MAGIC = [0x28, 0xb5, 0x2f, 0xfd];
  const LAST_RLE = [(1 | (1 << 1) | (1000 << 3)) & 0xff, (1000 << 3) >> 8, 0, 7]; // one block: 1000 times the byte 7
  const WINDOW_1K = 0x00;

  /** Frame header: descriptor, window descriptor or content size, one block. */
  function frame(descriptor: number, ...header: readonly number[]): Buffer {
    return Buffer.from([...MAGIC, descriptor, ...header, ...LAST_RLE]);
  }

  function opened(payload: Uint8Array): Buffer {
    return openChunk(forge(1, payload, secrets), secrets);
  }

  it('opens one plain frame: the crafting of these tests works', () => {
    expect(opened(frame(0x00, WINDOW_1K)).equals(plaintext)).toBe(true);
    expect(opened(frame(0x60, 0xe8, 0x02)).equals(plaintext)).toBe(true); // content size 1000 = 0x2e8 + 256
    expect(opened(frame(0x00, 9 << 3)).equals(plaintext)).toBe(true); // a window of 512 KiB
  });

  it.each([1, 255, 256, 65_791, 65_792, MAX])('opens frames with every width of the content size: %i', (sizeBytes) => {
    const content = Buffer.alloc(sizeBytes, 7);
    const own = secretsOf(content);
    for (const contentSizeFlag of [0, 1])
      for (const checksumFlag of [0, 1]) {
        const params = {
          [constants.ZSTD_c_contentSizeFlag]: contentSizeFlag,
          [constants.ZSTD_c_checksumFlag]: checksumFlag,
        };
        const payload = zstdCompressSync(content, { params });
        if (payload.length <= sizeBytes) expect(openChunk(forge(1, payload, own), own).equals(content)).toBe(true);
      }
  });

  const good = frame(0x00, WINDOW_1K);
  const empty = zstdCompressSync(Buffer.alloc(0));
  const skippable = Buffer.from('502a4d1804000000aabbccdd', 'hex');
  it.each<[string, Buffer]>([
    ['nothing', Buffer.alloc(0)],
    ['no frame', Buffer.from('no frame at all')],
    ['trailing bytes', Buffer.concat([good, Buffer.alloc(1)])],
    ['a second frame', Buffer.concat([good, good])],
    ['an empty second frame', Buffer.concat([good, empty])],
    ['an empty first frame', Buffer.concat([empty, good])],
    ['a skippable frame behind', Buffer.concat([good, skippable])],
    ['a skippable frame in front', Buffer.concat([skippable, good])],
    ['a skippable frame alone', skippable],
    ['the magic number of a second frame', Buffer.concat([good, Buffer.from(MAGIC)])],
    ['a frame that is cut', good.subarray(0, -1)],
    ['a window above 512 KiB', frame(0x00, (9 << 3) | 1)],
    ['a window of 1 MiB', frame(0x00, 10 << 3)],
    ['the largest window', frame(0x00, 0xff)],
    ['a content size of 1 GiB', frame(0xa0, 0, 0, 0, 0x40)],
    ['a content size that is wrong', frame(0x60, 0xe7, 0x02)],
    ['a dictionary', frame(0x01, WINDOW_1K, 5)],
    ['the reserved bit', frame(0x08, WINDOW_1K)],
    ['a reserved block type', Buffer.from([...MAGIC, 0x00, WINDOW_1K, 7, 0, 0])],
    ['a frame without blocks', Buffer.from([...MAGIC, 0x00, WINDOW_1K])],
    ['a magic number alone', Buffer.from(MAGIC)],
    ['a checksum that is missing', frame(0x04, WINDOW_1K)],
    ['a checksum that is wrong', Buffer.concat([frame(0x04, WINDOW_1K), Buffer.alloc(4)])],
    ['one byte too many inside', zstdCompressSync(Buffer.alloc(1001, 7))],
    ['one byte too few inside', zstdCompressSync(Buffer.alloc(999, 7))],
    ['a bomb', zstdCompressSync(Buffer.alloc(64 * 1024 * 1024, 7)).subarray(0, 1000)],
  ])('refuses %s', (_name, payload) => {
    expect(() => opened(payload)).toThrow(INVALID);
  });

  // A frame that would unfold to 1 GiB, in less than 1000 bytes: blocks of 128 KiB made of one byte each.
  it('stops a bomb at the stated length', () => {
    const block = [(1 << 1) | ((131_072 << 3) & 0xff), ((131_072 << 3) >> 8) & 0xff, (131_072 << 3) >> 16, 7];
    const bomb = Buffer.from([...MAGIC, 0x00, 9 << 3, ...Array.from({ length: 240 }, () => block).flat()]);
    const heapBefore = process.memoryUsage().arrayBuffers;
    expect(() => opened(bomb)).toThrow(INVALID);
    expect(process.memoryUsage().arrayBuffers - heapBefore).toBeLessThan(4 * MAX);
  });
});
