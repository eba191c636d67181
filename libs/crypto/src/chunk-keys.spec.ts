import { randomBytes } from 'node:crypto';

import {
  CHUNK_ID_BYTES,
  chunkHash,
  deriveChunkId,
  deriveChunkKey,
  deriveDeviceDomainKey,
  KEY_BYTES,
} from './chunk-keys.js';

describe('chunk keys', () => {
  const domainKey = Buffer.alloc(KEY_BYTES, 0x22);
  const h = chunkHash(Buffer.from('abc'));

  it('hash with SHA-256 (FIPS 180-4, "abc")', () => {
    expect(h.toString('hex')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  });

  // Computed with another implementation (Python's hmac): everything that was ever stored depends on them.
  it('are frozen', () => {
    expect(deriveChunkKey(domainKey, h).toString('hex')).toBe(
      '8ef7143bff94c54d9f9dd6290347a208abdfbf85b862f5fdff6ddd04dfb6f0a9',
    );
    expect(deriveChunkId(domainKey, h).toString('hex')).toBe('a17947e10d385e1e7a86afa9a12b793c');
    expect(deriveDeviceDomainKey(domainKey, 'device-1').toString('hex')).toBe(
      'daa3f331732d76c967ba2f3eb247b583bfb8a49ad66563a3d282ea02919e8e91',
    );
  });

  it('are equal for equal content in one domain, and different for everything else', () => {
    expect(deriveChunkKey(domainKey, h)).toEqual(deriveChunkKey(domainKey, chunkHash(Buffer.from('abc'))));
    const values = [
      deriveChunkKey(domainKey, h),
      deriveChunkKey(domainKey, chunkHash(Buffer.from('abd'))),
      deriveChunkKey(randomBytes(KEY_BYTES), h),
      deriveDeviceDomainKey(domainKey, 'device-1'),
      deriveDeviceDomainKey(domainKey, 'device-2'),
    ].map((value) => value.toString('hex'));
    expect(new Set(values).size).toBe(values.length);
  });

  it('show nothing of the key in the id', () => {
    const id = deriveChunkId(domainKey, h);
    expect(id).toHaveLength(CHUNK_ID_BYTES);
    expect(deriveChunkKey(domainKey, h).includes(id)).toBe(false);
  });
});
