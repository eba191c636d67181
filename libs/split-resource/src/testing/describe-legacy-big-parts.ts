import { buffer } from 'node:stream/consumers';

import { type ResourceName } from '@azaion/kernel';

import { type LegacyBigParts } from '../legacy/legacy-parts.js';

const CONTENT = Uint8Array.from({ length: 100_000 }, (_, index) => (7 * index + 3) % 256);

/** What a suite is given. */
export interface LegacyBigPartsUnderTest {
  /** In which parts may be put; `models` unless given. */
  readonly folder?: string;
  readonly parts: LegacyBigParts;
  /** Puts a big part where the adapter reads it. */
  put(resource: ResourceName, content: Uint8Array): Promise<void>;
}

/** The contract of {@link LegacyBigParts}. */
export function describeLegacyBigParts(name: string, make: () => Promise<LegacyBigPartsUnderTest>): void {
  describe(`${name} as LegacyBigParts`, () => {
    const { signal } = new AbortController();
    let under: LegacyBigPartsUnderTest;
    let resource: ResourceName;
    beforeAll(async () => {
      under = await make();
      resource = { folder: under.folder ?? 'models', name: 'contract.onnx' };
      await under.put(resource, CONTENT);
    });

    it('knows the size', async () => expect(await under.parts.size(resource, signal)).toBe(CONTENT.length));

    it('knows what is not there', async () =>
      expect(await under.parts.size({ ...resource, name: 'missing.onnx' }, signal)).toBeUndefined());

    it.each([
      [0, 1],
      [0, CONTENT.length],
      [1, 17],
      [CONTENT.length - 1, CONTENT.length],
      [65_535, 65_537],
    ])('reads [%i, %i)', async (start, end) => {
      const read = await buffer(await under.parts.open(resource, { start, end }, signal));
      expect(read.equals(CONTENT.subarray(start, end))).toBe(true);
    });

    it('says so when there is nothing to open', async () => {
      const opening = under.parts.open({ ...resource, name: 'missing.onnx' }, { start: 0, end: 1 }, signal);
      await expect(opening).rejects.toMatchObject({ code: 'cdn.missing' });
    });
  });
}
