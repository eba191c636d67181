import { InlineChunkOpener, InlineChunkSealer } from './chunk-work.js';
import { describeChunkOpener } from './testing/describe-chunk-opener.js';
import { describeChunkSealer } from './testing/describe-chunk-sealer.js';

describeChunkOpener('InlineChunkOpener', () => new InlineChunkOpener());
describeChunkSealer('InlineChunkSealer', () => new InlineChunkSealer());
