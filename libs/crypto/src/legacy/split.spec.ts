import { once } from 'node:events';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';

import fc from 'fast-check';

import { legacySmallBytes, splitLegacy } from './split.js';

describe('legacySmallBytes', () => {
  it.each([
    [0, 0],
    [1, 0],
    [3, 0],
    [4, 1],
    [10, 3],
    [32, 9],
    [10_239, 3071],
    [10_240, 3072],
    [10_241, 3072],
    [107_374_182_400, 3072],
  ])('of %i bytes is %i', (encryptedBytes, smallBytes) => {
    expect(legacySmallBytes(encryptedBytes)).toBe(smallBytes);
  });
});

describe('splitLegacy', () => {
  it('gives two parts that join to the whole, however the stream is cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 20 }), { maxLength: 10 }),
        fc.nat(100),
        async (cuts, percent) => {
          const whole = Buffer.concat(cuts);
          const smallBytes = Math.floor((whole.length * percent) / 100);
          const { small, big } = await splitLegacy(Readable.from(cuts.map((cut) => Buffer.from(cut))), smallBytes);
          expect(small).toHaveLength(smallBytes);
          const pieces = (await big.toArray()) as Buffer[];
          expect(Buffer.concat([small, ...pieces]).equals(whole)).toBe(true);
          expect(pieces.every(({ length }) => length > 0)).toBe(true);
        },
      ),
    );
  });

  it('refuses a stream that ends within the small part', async () => {
    await expect(splitLegacy(Readable.from([Buffer.alloc(5)]), 6)).rejects.toMatchObject({ code: 'legacy.invalid' });
  });

  it('passes on the error of a stream that breaks in the big part', async () => {
    const broken = Readable.from(
      (function* () {
        yield Buffer.alloc(5);
        throw new Error('broken');
      })(),
    );
    const { big } = await splitLegacy(broken, 3);
    await expect(buffer(big)).rejects.toThrow('broken');
  });

  it('destroys its source with the big part, also when nothing of it was read', async () => {
    const source = Readable.from([Buffer.alloc(5), Buffer.alloc(5), Buffer.alloc(5)]);
    const { big } = await splitLegacy(source, 3);
    const closed = once(source, 'close');
    big.destroy();
    await closed;
    expect(source.destroyed).toBe(true);
  });
});
