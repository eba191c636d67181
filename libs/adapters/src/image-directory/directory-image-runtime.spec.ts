import { tempDirectory, type TempDirectory } from '@azaion/testing';
import { describeImageRuntime } from '@azaion/unlock/testing';

import { DirectoryImageRuntime } from './directory-image-runtime.js';

let directory: TempDirectory | undefined;
describeImageRuntime(
  'DirectoryImageRuntime',
  async () => {
    directory = await tempDirectory('azaion-images');
    return new DirectoryImageRuntime(directory.path);
  },
  () => directory?.remove() ?? Promise.resolve(),
);
