import { InlineChunkOpener } from './chunk-work.js';
import { describeChunkOpener } from './testing/describe-chunk-opener.js';

describeChunkOpener('InlineChunkOpener', () => new InlineChunkOpener());
