/// <reference types="jest" />
import { createHash, randomBytes } from 'node:crypto';

import { CHUNK_OVERHEAD_BYTES, identifyChunk, openChunk } from '@azaion/crypto';
import type { ByteRange } from '@azaion/kernel';

import type { ChunkSealer } from '../chunk-work.js';

/** The contract of {@link ChunkSealer}. @param sealer - Used by one test after another; the caller closes it. */
export function describeChunkSealer(name: string, sealer: () => ChunkSealer): void {
  describe(`${name} as a ChunkSealer`, () => {
    const domainKey = randomBytes(32);
    const { signal } = new AbortController();

    /** Plaintexts one after another in memory of the sealer's. */
    const windowOf = (plaintexts: readonly Uint8Array[]): { window: Uint8Array; ranges: ByteRange[] } => {
      const window = sealer().allocate(plaintexts.reduce((sizeBytes, { length }) => sizeBytes + length, 0));
      let at = 0;
      const ranges = plaintexts.map((plaintext) => {
        window.set(plaintext, at);
        return { start: at, end: (at += plaintext.length) };
      });
      return { window, ranges };
    };
    /** Names, seals and opens again. */
    const throughSealer = async (plaintexts: readonly Uint8Array[]): Promise<Buffer[]> => {
      const { window, ranges } = windowOf(plaintexts);
      const identities = await sealer().identify(window, ranges, domainKey);
      const target = sealer().allocate(window.length + plaintexts.length * CHUNK_OVERHEAD_BYTES);
      const toSeal = ranges.map((range, index) => ({ range, secrets: identities[index]! }));
      const lengths = await sealer().seal(window, toSeal, target);
      let at = 0;
      return plaintexts.map((plaintext, index) => {
        const expected = identifyChunk(plaintext, domainKey);
        expect(Buffer.from(identities[index]!.id).equals(expected.id)).toBe(true);
        return openChunk(Buffer.from(target.subarray(at, (at += lengths[index]!))), expected);
      });
    };

    it.each([1, 1000, 40_000, 128 * 1024, 512 * 1024])(
      'names and seals %i bytes as the format says',
      async (sizeBytes) => {
        const plaintexts = [randomBytes(sizeBytes), Buffer.alloc(sizeBytes, 3)];
        const opened = await throughSealer(plaintexts);
        expect(opened.every((bytes, index) => bytes.equals(plaintexts[index]!))).toBe(true);
      },
    );

    it('leaves the window as it is, and touches no more of the target than it fills', async () => {
      const plaintexts = [randomBytes(40_000), Buffer.alloc(50_000, 1)];
      const { window, ranges } = windowOf([randomBytes(1000), ...plaintexts, randomBytes(1000)]);
      const before = Buffer.from(window);
      const chunks = ranges.slice(1, 3);
      const identities = await sealer().identify(window, chunks, domainKey);
      const target = sealer().allocate(200_000).fill(9);
      const toSeal = chunks.map((range, index) => ({ range, secrets: identities[index]! }));
      const lengths = await sealer().seal(window, toSeal, target);
      expect(Buffer.from(window).equals(before)).toBe(true);
      expect(target.subarray(lengths[0]! + lengths[1]!).every((byte) => byte === 9)).toBe(true);
    });

    it('refuses a target without room', async () => {
      const plaintext = randomBytes(1000);
      const { window, ranges } = windowOf([plaintext]);
      const [identity] = await sealer().identify(window, ranges, domainKey);
      const target = sealer().allocate(1000 + CHUNK_OVERHEAD_BYTES - 1);
      await expect(sealer().seal(window, [{ range: ranges[0]!, secrets: identity! }], target)).rejects.toThrow(
        'no room',
      );
    });

    it('keeps many answers apart', async () => {
      const batches = Array.from({ length: 60 }, (_, batch) =>
        Array.from({ length: 1 + (batch % 5) }, (__, index) => Buffer.alloc(1 + batch * 37 + index, batch)),
      );
      const opened = await Promise.all(batches.map(throughSealer));
      expect(opened).toEqual(batches);
    });

    it('has nothing to do for no chunks', async () => {
      const memory = sealer().allocate(0);
      expect(await sealer().identify(memory, [], domainKey)).toEqual([]);
      expect(await sealer().seal(memory, [], memory)).toEqual([]);
    });

    it.each(['sha256', 'md5'] as const)('hashes with %s what comes piece by piece, several at a time', async (name) => {
      const contents = [0, 1, 500_000, 1_000_001].map((sizeBytes) => randomBytes(sizeBytes));
      const digests = await Promise.all(
        contents.map(async (content) => {
          const { window } = windowOf([content]);
          const hash = sealer().hashing(name, signal);
          const updates: Promise<void>[] = [];
          for (let at = 0; at < content.length; at += 70_000)
            updates.push(hash.update(window.subarray(at, at + 70_000)));
          const digest = hash.digest();
          await Promise.all(updates);
          return Buffer.from(await digest).toString('hex');
        }),
      );
      expect(digests).toEqual(contents.map((content) => createHash(name).update(content).digest('hex')));
    });

    it('lets a hash be given up', async () => {
      const stop = new AbortController();
      const hash = sealer().hashing('sha256', stop.signal);
      await hash.update(sealer().allocate(1000));
      stop.abort();
      const other = sealer().hashing('sha256', signal);
      expect(Buffer.from(await other.digest())).toEqual(createHash('sha256').digest());
    });
  });
}
