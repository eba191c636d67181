import type { ChunkIdentity } from '@azaion/crypto';

import { InlineChunkOpener, InlineChunkSealer } from './chunk-work.js';
import { describeChunkOpener } from './testing/describe-chunk-opener.js';
import { describeChunkSealer } from './testing/describe-chunk-sealer.js';
import { InMemoryPlaintextFile } from './testing/in-memory-plaintext-file.js';

describeChunkOpener(
  'InlineChunkOpener',
  () => new InlineChunkOpener(),
  () => {
    const file = new InMemoryPlaintextFile();
    return Promise.resolve({ file, content: () => Promise.resolve(file.content) });
  },
);
describeChunkSealer('InlineChunkSealer', () => new InlineChunkSealer());

describe('InlineChunkSealer', () => {
  const MIB = 1024 * 1024;
  const sealer = new InlineChunkSealer();
  const window = sealer.allocate(8 * MIB);
  const chunks = Array.from({ length: 16 }, (_, index) => ({ start: (index * MIB) / 2, end: ((index + 1) * MIB) / 2 }));
  const domainKey = new Uint8Array(32);

  it.each([
    ['hashes', () => sealer.hashing('sha256', new AbortController().signal).update(window)],
    ['names', () => sealer.identify(window, chunks, domainKey)],
    [
      'seals',
      async () => {
        const secrets = await sealer.identify(window, chunks.slice(0, 1), domainKey);
        const toSeal = chunks.map((range) => ({ range, secrets: secrets[0] as ChunkIdentity }));
        await sealer.seal(window, toSeal, sealer.allocate(9 * MIB));
      },
    ],
  ])('lets others have their turn after every megabyte that it %s', async (_, work) => {
    let turns = 0;
    let working = true;
    const turn = (): void => {
      turns += 1;
      if (working) setImmediate(turn);
    };
    setImmediate(turn);
    await work();
    working = false;
    expect(turns).toBeGreaterThanOrEqual(7);
  });
});
