/// <reference types="jest" />
import { randomBytes } from 'node:crypto';

import type { PackSink, PackTarget } from '../ports/pack-sink.js';

/** A sink under test and the place behind it. */
export interface PackSinkHarness {
  readonly sink: PackSink;
  /** Permission to write exactly these bytes to a new pack. */
  readonly target: (bytes: Buffer) => Promise<PackTarget>;
  /** What lies at a target; `undefined` for nothing. */
  readonly written: (target: PackTarget) => Promise<Buffer | undefined>;
  /** A target that the store does not accept. */
  readonly refused: () => Promise<PackTarget>;
  readonly close?: () => Promise<void>;
}

/** The contract of {@link PackSink}. @param make - A new sink with an empty place behind it. */
export function describePackSink(name: string, make: () => Promise<PackSinkHarness>): void {
  describe(`${name} as a PackSink`, () => {
    let harness: PackSinkHarness;

    beforeEach(async () => {
      harness = await make();
    });
    afterEach(async () => {
      await harness.close?.();
    });

    it.each([1, 1000, 3_000_000])('writes %i bytes in parts', async (sizeBytes) => {
      const bytes = randomBytes(sizeBytes);
      const target = await harness.target(bytes);
      const middle = sizeBytes >>> 1;
      await harness.sink.put(target, [bytes.subarray(0, middle), bytes.subarray(middle)], 30_000);
      expect((await harness.written(target))?.equals(bytes)).toBe(true);
    });

    it('says pack.exists the second time and leaves the first as it is', async () => {
      const bytes = randomBytes(5000);
      const target = await harness.target(bytes);
      await harness.sink.put(target, [bytes], 30_000);
      await expect(harness.sink.put(target, [bytes], 30_000)).rejects.toMatchObject({ code: 'pack.exists' });
      expect((await harness.written(target))?.equals(bytes)).toBe(true);
    });

    it('says pack.forbidden for a target that is not accepted', async () => {
      const target = await harness.refused();
      await expect(harness.sink.put(target, [randomBytes(10)], 30_000)).rejects.toMatchObject({
        code: 'pack.forbidden',
      });
    });
  });
}
