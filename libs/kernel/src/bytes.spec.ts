import fc from 'fast-check';

import {
  concatBytes,
  copyBytes,
  equalBytes,
  fromBase64Url,
  releaseBytes,
  toBase64Url,
  toHex,
  u32be,
  utf8,
} from './bytes.js';

describe('copyBytes', () => {
  const MAX = 300;
  const place = fc.record({
    source: fc.uint8Array({ maxLength: MAX }),
    from: fc.nat(7),
    at: fc.nat(MAX),
    shared: fc.boolean(),
  });

  it('puts the bytes where they belong, and changes nothing beside them', () => {
    fc.assert(
      fc.property(place, ({ source, from, at, shared }) => {
        const memory = shared ? new SharedArrayBuffer(2 * MAX) : new ArrayBuffer(2 * MAX);
        const target = new Uint8Array(memory).fill(9);
        const part = source.subarray(from);
        copyBytes(part, target, at);
        const expected = new Uint8Array(2 * MAX).fill(9);
        expected.set(part, at);
        expect(Buffer.from(target)).toEqual(Buffer.from(expected));
      }),
    );
  });

  it.each([
    ['one byte too many', 5, 0],
    ['one place too far', 4, 1],
    ['a place before the target', 1, -1],
    ['no place', 1, NaN],
    ['half a place', 1, 0.5],
  ])('refuses %s, and copies nothing', (_, sizeBytes, at) => {
    const target = new Uint8Array(4);
    expect(() => copyBytes(new Uint8Array(sizeBytes).fill(1), target, at)).toThrow(RangeError);
    expect([...target]).toEqual([0, 0, 0, 0]);
  });
});

describe('releaseBytes', () => {
  it('gives a whole buffer back, which is empty from then on', () => {
    const bytes = Buffer.allocUnsafeSlow(100_000);
    releaseBytes(bytes);
    expect(bytes).toHaveLength(0);
    expect(bytes.buffer.byteLength).toBe(0);
  });

  it('leaves a part of a larger buffer as it is', () => {
    const around = Buffer.alloc(100, 7);
    releaseBytes(around.subarray(10, 20));
    expect(around.equals(Buffer.alloc(100, 7))).toBe(true);
    const pooled = Buffer.from('short');
    releaseBytes(pooled);
    expect(pooled.toString()).toBe('short');
  });
});

describe('base64url', () => {
  it('brings any bytes back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        expect(fromBase64Url(toBase64Url(bytes), 100)).toEqual(bytes);
      }),
    );
  });

  // RFC 4648 §10, without padding.
  it.each([
    ['', ''],
    ['f', 'Zg'],
    ['fo', 'Zm8'],
    ['foo', 'Zm9v'],
    ['foobar', 'Zm9vYmFy'],
  ])('encodes "%s" as "%s"', (text, encoded) => {
    expect(toBase64Url(utf8(text))).toBe(encoded);
    expect(fromBase64Url(encoded, 6)).toEqual(utf8(text));
  });

  it('has one text for each value only', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 8 }), (text) => {
        const bytes = fromBase64Url(text, 100);
        if (bytes !== undefined) expect(toBase64Url(bytes)).toBe(text);
      }),
    );
  });

  it.each(['Zg==', 'Zg=', 'Zh', 'Zm9', 'Z', 'Zm+v', 'Zm/v', ' Zg', 'Zg\n', 'Z g', 'Ζg', 'Zg\0'])(
    'refuses "%s"',
    (text) => {
      expect(fromBase64Url(text, 100)).toBeUndefined();
    },
  );

  it.each([
    [31, true],
    [32, true],
    [33, false],
    [34, false],
    [1000, false],
  ])('takes %i bytes where 32 are the most: %s', (sizeBytes, taken) => {
    expect(fromBase64Url(toBase64Url(new Uint8Array(sizeBytes)), 32) !== undefined).toBe(taken);
  });

  it('encodes the bytes of a view, not of the buffer behind it', () => {
    expect(toBase64Url(utf8('xfoox').subarray(1, 4))).toBe('Zm9v');
    expect(toHex(Uint8Array.of(0, 1, 255).subarray(1))).toBe('01ff');
  });
});

describe('u32be', () => {
  it.each([
    [0, '00000000'],
    [1, '00000001'],
    [0x0102_0304, '01020304'],
    [0xffff_ffff, 'ffffffff'],
  ])('writes %i as %s', (value, written) => {
    expect(toHex(u32be(value))).toBe(written);
  });

  it.each([-1, 0.5, 2 ** 32, Number.NaN, Number.POSITIVE_INFINITY])('refuses %d', (value) => {
    expect(() => u32be(value)).toThrow(RangeError);
  });
});

describe('concatBytes', () => {
  it('joins in order, into an array of its own', () => {
    const part = Uint8Array.of(1, 2);
    const joined = concatBytes(part, new Uint8Array(0), Uint8Array.of(3));
    part.fill(9);
    expect(joined).toEqual(Uint8Array.of(1, 2, 3));
    expect(concatBytes()).toEqual(new Uint8Array(0));
  });
});

describe('equalBytes', () => {
  it('compares content and length', () => {
    expect(equalBytes(Uint8Array.of(1, 2), Buffer.from([1, 2]))).toBe(true);
    expect(equalBytes(new Uint8Array(0), new Uint8Array(0))).toBe(true);
    expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 3))).toBe(false);
    expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 2, 0))).toBe(false);
  });
});
