import { buffer } from 'node:stream/consumers';

import type { ResourceName } from '@azaion/kernel';

import type { FoundBigPart, LegacyBigParts } from '../legacy/legacy-parts.js';

const CONTENT = Uint8Array.from({ length: 100_000 }, (_, index) => (7 * index + 3) % 256);

/** What a suite is given. */
export interface LegacyBigPartsUnderTest {
  /** In which parts may be put; `models` unless given. */
  readonly folder?: string;
  readonly parts: LegacyBigParts;
  /** Puts a big part where the adapter reads it, over any earlier one. */
  put(resource: ResourceName, content: Uint8Array): Promise<void>;
}

/** The contract of {@link LegacyBigParts}. */
export function describeLegacyBigParts(name: string, make: () => Promise<LegacyBigPartsUnderTest>): void {
  describe(`${name} as LegacyBigParts`, () => {
    const { signal } = new AbortController();
    let under: LegacyBigPartsUnderTest;
    let resource: ResourceName;
    let found: FoundBigPart;
    beforeAll(async () => {
      under = await make();
      resource = { folder: under.folder ?? 'models', name: 'contract.onnx' };
      await under.put(resource, CONTENT);
      found = (await under.parts.find(resource, signal))!;
    });

    it('knows the size', () => expect(found.sizeBytes).toBe(CONTENT.length));

    it('knows what is not there', async () =>
      expect(await under.parts.find({ ...resource, name: 'missing.onnx' }, signal)).toBeUndefined());

    it.each([
      [0, 1],
      [0, CONTENT.length],
      [1, 17],
      [CONTENT.length - 1, CONTENT.length],
      [65_535, 65_537],
    ])('reads [%i, %i)', async (start, end) => {
      const read = await buffer(await found.open({ start, end }, signal));
      expect(read.equals(CONTENT.subarray(start, end))).toBe(true);
    });

    it('is in the same state for as long as nobody replaces it, and in another afterwards', async () => {
      expect((await under.parts.find(resource, signal))?.state).toBe(found.state);
      const other = { ...resource, name: 'replaced.onnx' };
      await under.put(other, CONTENT);
      const before = await under.parts.find(other, signal);
      await under.put(other, CONTENT.toReversed());
      expect((await under.parts.find(other, signal))?.state).not.toBe(before?.state);
    });

    // Parts of two uploads in one answer would be garbage in the middle of a file.
    it('reads nothing of a part that was replaced after it was found', async () => {
      const other = { ...resource, name: 'raced.onnx' };
      await under.put(other, CONTENT);
      const before = await under.parts.find(other, signal);
      await under.put(other, CONTENT.toReversed());
      const reading = async (): Promise<Buffer> => buffer(await before!.open({ start: 0, end: 100 }, signal));
      await expect(reading()).rejects.toMatchObject({ code: 'cdn.unavailable' });
    });
  });
}
