import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Readable } from 'node:stream';

import { type ByteRange, type ResourceName } from '@azaion/kernel';
import { LegacyBigParts, ResourceError } from '@azaion/split-resource';

const READ_BYTES = 1024 * 1024;

/** Big parts that were shipped with the device: `{directory}/{folder}/X.big`. */
export class DirectoryLegacyParts extends LegacyBigParts {
  constructor(private readonly directory: string) {
    super();
  }

  override async size(resource: ResourceName): Promise<number | undefined> {
    const found = await stat(this.pathOf(resource)).catch(() => undefined);
    return found?.isFile() === true ? found.size : undefined;
  }

  override open(resource: ResourceName, { start, end }: ByteRange): Promise<Readable> {
    const stream = createReadStream(this.pathOf(resource), { start, end: end - 1, highWaterMark: READ_BYTES });
    return new Promise((resolve, reject) => {
      stream.once('open', () => resolve(stream));
      stream.once('error', (cause) =>
        reject(new ResourceError('cdn.missing', 'The local copy cannot be read.', { cause })),
      );
    });
  }

  /** Names are checked at the edge: they hold no separators and do not start with a dot. */
  private pathOf({ folder, name }: ResourceName): string {
    return join(this.directory, folder, `${name}.big`);
  }
}
