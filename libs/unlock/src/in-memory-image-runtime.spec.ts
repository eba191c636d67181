import { describeImageRuntime, InMemoryImageRuntime } from './testing/index.js';

describeImageRuntime('InMemoryImageRuntime', () => Promise.resolve(new InMemoryImageRuntime()));
