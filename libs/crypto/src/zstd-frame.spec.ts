import { zstdCompressSync } from 'node:zlib';

import { isSingleZstdFrame } from './zstd-frame.js';

const frame = zstdCompressSync(Buffer.alloc(1000, 7));
const skippable = Buffer.from('502a4d1804000000aabbccdd', 'hex');

describe('isSingleZstdFrame', () => {
  it.each([0, 1, 255, 256, 65_791, 65_792, 1_000_000])('finds the end of a frame of %i bytes', (sizeBytes) => {
    expect(isSingleZstdFrame(zstdCompressSync(Buffer.alloc(sizeBytes, 7)))).toBe(true);
  });

  it.each([
    ['of another magic number', Buffer.concat([Buffer.of(0x29), frame.subarray(1)])],
    ['with a skippable frame in front', Buffer.concat([skippable, frame])],
    ['with a skippable frame behind', Buffer.concat([frame, skippable])],
    ['twice', Buffer.concat([frame, frame])],
    ['with a byte behind', Buffer.concat([frame, Buffer.alloc(1)])],
  ])('refuses a frame %s', (_, bytes) => {
    expect(isSingleZstdFrame(bytes)).toBe(false);
  });

  it('refuses a frame that is cut anywhere', () => {
    for (let sizeBytes = 0; sizeBytes < frame.length; sizeBytes += 1)
      expect(isSingleZstdFrame(frame.subarray(0, sizeBytes))).toBe(false);
  });
});
