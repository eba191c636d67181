import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';

import type { ByteRange } from '@azaion/kernel';
import { type PackLocation, PackSource, ResourceError } from '@azaion/split-resource';

import { systemCode } from './file-errors.js';
import { assertPackNames } from './pack-names.js';

/** Reads packs that were shipped with the device, from `packs/{folderId}/{packId}` or `{packId}` in a directory. It writes nothing there. */
export class DirectoryPackSource extends PackSource {
  override readonly remote = false;

  constructor(private readonly directory: string) {
    super();
  }

  override async open(location: PackLocation, range: ByteRange): Promise<Readable> {
    const { packId, sizeBytes } = location.pack;
    assertPackNames(location.folderId, packId);
    for (const path of [join(this.directory, 'packs', location.folderId, packId), join(this.directory, packId)]) {
      const file = await openIfThere(path);
      if (file === undefined) continue;
      const stat = await file.stat();
      // A file that is still being copied, or something else of that name.
      if (stat.isFile() && stat.size === sizeBytes)
        // In one piece: the reader takes it as it is.
        return file.createReadStream({
          start: range.start,
          end: range.end - 1,
          highWaterMark: range.end - range.start,
        });
      await file.close();
    }
    throw new ResourceError('pack.not-found', 'The directory does not hold the pack.');
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    // Without waiting: a named pipe of that name would hold the reader for ever.
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    const code = systemCode(cause);
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENXIO') return undefined; // the last one: a socket
    throw new ResourceError('pack.unavailable', 'The directory cannot be read.', { cause });
  }
}
