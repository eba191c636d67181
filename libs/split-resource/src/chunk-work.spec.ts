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
