import type { Readable } from 'node:stream';

import { DirectoryPackSource } from '@azaion/adapters/file-store';
import type { ByteRange } from '@azaion/kernel';
import { type PackLocation, PackSource, ResourceError } from '@azaion/split-resource';

/** The packs of every bundle that this device has taken up, read from where they lie. */
export class BundledPacks extends PackSource {
  override readonly remote = false;
  private readonly directories = new Map<string, DirectoryPackSource>();

  /** @param directory - Of a bundle; one that goes away again is no error, its packs are looked for elsewhere. */
  add(directory: string): void {
    if (!this.directories.has(directory)) this.directories.set(directory, new DirectoryPackSource(directory));
  }

  override async open(location: PackLocation, range: ByteRange): Promise<Readable> {
    for (const source of this.directories.values()) {
      try {
        return await source.open(location, range);
      } catch (error) {
        if (!(error instanceof ResourceError) || error.code !== 'pack.not-found') throw error;
      }
    }
    throw new ResourceError('pack.not-found', 'No bundle on this device holds the pack.');
  }
}
