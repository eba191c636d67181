import { createHash } from 'node:crypto';

import fc from 'fast-check';

import { Sha256Lanes } from './sha256-lanes.js';

describe('Sha256Lanes', () => {
  const lanes = Sha256Lanes.start(1024 * 1024);
  lanes.memory.forEach((_, index) => (lanes.memory[index] = (7 * index + (index >>> 8)) & 0xff));

  function expectDigests(messages: readonly { at: number; sizeBytes: number }[]): void {
    const expected = messages.map(({ at, sizeBytes }) =>
      createHash('sha256')
        .update(lanes.memory.subarray(at, at + sizeBytes))
        .digest('hex'),
    );
    expect(lanes.hash(messages).map((digest) => digest.toString('hex'))).toEqual(expected);
  }

  it.each([
    ['', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
    ['abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
    [
      'abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq',
      '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
    ],
  ])('hashes the example %j of FIPS 180', (text, digest) => {
    const own = Sha256Lanes.start(100);
    own.memory.set(Buffer.from(text));
    expect(own.hash([{ at: 0, sizeBytes: text.length }]).map((hash) => hash.toString('hex'))).toEqual([digest]);
  });

  it('hashes no message', () => {
    expect(lanes.hash([])).toEqual([]);
  });

  it('hashes every length around the borders of blocks and padding', () => {
    for (const count of [1, 2, 3, 4, 5])
      for (const sizeBytes of [0, 1, 54, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 129])
        expectDigests(
          Array.from({ length: count }, (_, index) => ({ at: 1000 * index, sizeBytes: sizeBytes + index })),
        );
  });

  it('hashes messages of any lengths anywhere, more than there are lanes, also the same one twice', () => {
    const message = fc
      .tuple(fc.nat(500_000), fc.oneof(fc.nat(300), fc.nat(200_000)))
      .map(([at, sizeBytes]) => ({ at, sizeBytes }));
    fc.assert(
      fc.property(fc.array(message, { maxLength: 9 }), (messages) => {
        expectDigests(messages);
      }),
      { numRuns: 60 },
    );
  });

  it('hashes the largest chunk', () => {
    expectDigests([{ at: 3, sizeBytes: 512 * 1024 }]);
  });

  it('sees a single bit', () => {
    const [before] = lanes.hash([{ at: 0, sizeBytes: 70_000 }]);
    lanes.memory[69_999]! ^= 1;
    const [after] = lanes.hash([{ at: 0, sizeBytes: 70_000 }]);
    lanes.memory[69_999]! ^= 1;
    expect(after!.equals(before!)).toBe(false);
  });

  it('is used only where it agrees with the hash of Node; then it has room for what was asked for', () => {
    const chosen = Sha256Lanes.worthwhile(600_000);
    expect((chosen ?? lanes).memory.length).toBeGreaterThanOrEqual(600_000);
  });
});
