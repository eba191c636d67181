/// <reference types="jest" />
import { createHash, randomBytes } from 'node:crypto';

import { identifyChunk, type SealedPlace, sealChunk } from '@azaion/crypto';

import type { ChunkOpener, OpenedChunks, SealedRun } from '../chunk-work.js';
import type { PlaintextFile } from '../ports/plaintext-file.js';

/** Bytes before, between and after the sealed chunks of a run, as other chunks of a pack lie there. */
const GAP_BYTES = 100;

/** A file that an opener under test writes into. */
export interface PlaintextFileHarness {
  readonly file: PlaintextFile;
  /** What is in it now. */
  readonly content: () => Promise<Buffer>;
}

/**
 * The contract of {@link ChunkOpener}.
 *
 * @param opener - Used by one test after another; the caller closes it.
 * @param openFile - An empty file, which the caller closes after the test.
 */
export function describeChunkOpener(
  name: string,
  opener: () => ChunkOpener,
  openFile: () => Promise<PlaintextFileHarness>,
): void {
  describe(`${name} as a ChunkOpener`, () => {
    const domainKey = randomBytes(32);

    function sealedRun(plaintexts: readonly Buffer[], movable = false): SealedRun {
      const chunks: SealedPlace[] = [];
      const parts: Buffer[] = [];
      let at = 0;
      const add = (part: Buffer): void => {
        parts.push(part);
        at += part.length;
      };
      for (const plaintext of plaintexts) {
        const { h, key, plaintextBytes } = identifyChunk(plaintext, domainKey);
        const sealed = sealChunk(plaintext, { h, key, plaintextBytes });
        add(randomBytes(GAP_BYTES));
        chunks.push({ at, sealedBytes: sealed.length, secrets: { h, key, plaintextBytes } });
        add(sealed);
      }
      add(randomBytes(GAP_BYTES));
      return { bytes: Buffer.concat(parts), movable, chunks };
    }

    it.each([1, 1000, 40_000, 128 * 1024, 512 * 1024])('opens a run of one chunk of %i bytes', async (sizeBytes) => {
      for (const plaintext of [randomBytes(sizeBytes), Buffer.alloc(sizeBytes, 3)]) {
        const opened = await allOf(opener().open(sealedRun([plaintext])));
        expect(opened.plaintext.equals(plaintext)).toBe(true);
        expect(opened.count).toBe(1);
      }
    });

    it.each([true, false])('opens many chunks in their order (movable: %s)', async (movable) => {
      const plaintexts = Array.from({ length: 60 }, (_, index) => randomBytes(1 + index * 977));
      const opened = await allOf(opener().open(sealedRun(plaintexts, movable)));
      expect(opened.plaintext.equals(Buffer.concat(plaintexts))).toBe(true);
      expect(opened.count).toBe(60);
    });

    it('keeps runs that are opened at once apart', async () => {
      const runs = Array.from({ length: 20 }, (_, index) => [Buffer.alloc(70_000, index), randomBytes(100 + index)]);
      const opened = await Promise.all(runs.map((plaintexts) => allOf(opener().open(sealedRun(plaintexts, true)))));
      for (const [index, plaintexts] of runs.entries())
        expect(opened[index]!.plaintext.equals(Buffer.concat(plaintexts))).toBe(true);
    });

    it.each([0, 1, 4])('gives out what comes before chunk %i, which does not open, and nothing of it', async (bad) => {
      const plaintexts = Array.from({ length: 5 }, () => randomBytes(5000));
      const run = sealedRun(plaintexts, true);
      const at = run.chunks[bad]!.at + 2000;
      run.bytes[at] = (run.bytes[at] ?? 0) ^ 1;
      const before: Buffer[] = [];
      const reading = (async () => {
        for await (const { plaintext } of opener().open(run)) before.push(plaintext);
      })();
      await expect(reading).rejects.toMatchObject({ code: 'chunk.invalid' });
      expect(Buffer.concat(before).equals(Buffer.concat(plaintexts.slice(0, bad)))).toBe(true);
    });

    it('leaves bytes that are not movable as they are, also those of a larger buffer', async () => {
      const run = sealedRun([randomBytes(50_000), Buffer.alloc(90_000, 1)]);
      const around = Buffer.concat([randomBytes(999), run.bytes, randomBytes(999)]);
      const before = createHash('sha256').update(around).digest('hex');
      await allOf(opener().open({ ...run, bytes: around.subarray(999, -999) }));
      await allOf(opener().open({ ...run, bytes: around.subarray(999, -999), movable: true })); // a part cannot be moved
      expect(createHash('sha256').update(around).digest('hex')).toBe(before);
    });

    describe('into a file', () => {
      const POSITION = 1000;
      let file: PlaintextFile;
      let content: () => Promise<Buffer>;
      beforeEach(async () => {
        ({ file, content } = await openFile());
      });

      it.each([true, false])('writes many chunks to their places and hands out none (movable: %s)', async (movable) => {
        const plaintexts = Array.from({ length: 60 }, (_, index) => randomBytes(1 + index * 977));
        const into = { file, position: POSITION };
        let [count, plaintextBytes] = [0, 0];
        for await (const opened of opener().open({ ...sealedRun(plaintexts, movable), into })) {
          expect(opened.plaintext).toHaveLength(0);
          count += opened.count;
          plaintextBytes += opened.plaintextBytes;
        }
        const whole = Buffer.concat(plaintexts);
        expect({ count, plaintextBytes }).toEqual({ count: 60, plaintextBytes: whole.length });
        expect((await content()).equals(Buffer.concat([Buffer.alloc(POSITION), whole]))).toBe(true);
      });

      it('writes nothing of a chunk that does not open, and nothing behind it', async () => {
        const plaintexts = Array.from({ length: 5 }, () => randomBytes(5000));
        const run = sealedRun(plaintexts, true);
        const at = run.chunks[2]!.at + 2000;
        run.bytes[at] = (run.bytes[at] ?? 0) ^ 1;
        await expect(allOf(opener().open({ ...run, into: { file, position: 0 } }))).rejects.toMatchObject({
          code: 'chunk.invalid',
        });
        expect((await content()).equals(Buffer.concat(plaintexts.slice(0, 2)))).toBe(true);
      });

      it('leaves the file once it says that it is unused, also when nobody waits for the run', async () => {
        const plaintexts = Array.from({ length: 30 }, () => randomBytes(50_000));
        const opened = opener().open({ ...sealedRun(plaintexts), into: { file, position: 0 } });
        void opened.next().catch(() => undefined);
        await file.unused();
        const before = await content();
        await file.unused();
        expect((await content()).equals(before)).toBe(true);
      });
    });

    it('lets the reader stop early', async () => {
      const opened = opener().open(sealedRun([randomBytes(1000), randomBytes(1000)]));
      await opened.next();
      expect(await opened.return()).toEqual({ done: true, value: undefined });
    });
  });
}

async function allOf(opened: AsyncIterable<OpenedChunks>): Promise<OpenedChunks> {
  const parts: Buffer[] = [];
  let chunks = 0;
  for await (const { plaintext, count } of opened) {
    parts.push(plaintext);
    chunks += count;
  }
  const plaintext = Buffer.concat(parts);
  return { plaintext, plaintextBytes: plaintext.length, count: chunks };
}
