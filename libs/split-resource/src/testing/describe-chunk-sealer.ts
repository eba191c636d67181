/// <reference types="jest" />
import { createHash, randomBytes } from 'node:crypto';

import { identifyChunk, openChunk } from '@azaion/crypto';

import { type ChunkSealer } from '../chunk-work.js';

/** The contract of {@link ChunkSealer}. @param sealer - Used by one test after another; the caller closes it. */
export function describeChunkSealer(name: string, sealer: () => ChunkSealer): void {
  describe(`${name} as a ChunkSealer`, () => {
    const domainKey = randomBytes(32);

    it.each([1, 1000, 40_000, 128 * 1024, 512 * 1024])(
      'names and seals %i bytes as the format says',
      async (sizeBytes) => {
        for (const plaintext of [randomBytes(sizeBytes), Buffer.alloc(sizeBytes, 3)]) {
          const identity = await sealer().identify(plaintext, domainKey);
          const expected = identifyChunk(plaintext, domainKey);
          expect(Buffer.from(identity.id).equals(expected.id)).toBe(true);
          expect(Buffer.from(identity.key).equals(expected.key)).toBe(true);
          const sealed = await sealer().seal(plaintext, identity);
          expect(openChunk(sealed, expected).equals(plaintext)).toBe(true);
        }
      },
    );

    it('leaves plaintext as it is, also views into a larger buffer', async () => {
      const around = randomBytes(100_000);
      const plaintext = around.subarray(1000, 90_000);
      const before = Buffer.from(around);
      await sealer().seal(plaintext, await sealer().identify(plaintext, domainKey));
      expect(around.equals(before)).toBe(true);
    });

    it('keeps many answers apart', async () => {
      const plaintexts = Array.from({ length: 200 }, (_, index) => Buffer.alloc(1 + index * 37, index));
      const opened = await Promise.all(
        plaintexts.map(async (plaintext) => {
          const identity = await sealer().identify(plaintext, domainKey);
          return openChunk(await sealer().seal(plaintext, identity), identity);
        }),
      );
      expect(opened.every((bytes, index) => bytes.equals(plaintexts[index]!))).toBe(true);
    });

    it.each([0, 1, 524_288, 524_289, 2_000_000])('hashes the first %i bytes of a pack', async (sizeBytes) => {
      const content = randomBytes(2_000_000);
      const given = Buffer.allocUnsafeSlow(content.length);
      content.copy(given);
      const { buffer, sha256, md5 } = await sealer().digest(given, sizeBytes);
      expect(buffer.equals(content)).toBe(true);
      const digest = (algorithm: string): string =>
        createHash(algorithm).update(content.subarray(0, sizeBytes)).digest('hex');
      expect(Buffer.from(sha256).toString('hex')).toBe(digest('sha256'));
      expect(Buffer.from(md5).toString('hex')).toBe(digest('md5'));
    });
  });
}
