import type { BigIntStats } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';

import type { ByteRange, ResourceName } from '@azaion/kernel';
import { type FoundBigPart, LegacyBigParts, ResourceError } from '@azaion/split-resource';

const READ_BYTES = 1024 * 1024;
/** What `sha256sum` writes of one file. */
const MAX_HASH_FILE_BYTES = 4096;

/** Big parts that were shipped with the device: `{directory}/{folder}/X.big`, and beside it `X.sha256` where the plaintext's hash was shipped too. */
export class DirectoryLegacyParts extends LegacyBigParts {
  constructor(private readonly directory: string) {
    super();
  }

  override async find(resource: ResourceName): Promise<FoundBigPart | undefined> {
    const path = this.pathOf(resource, 'big');
    const found = await stat(path, { bigint: true }).catch(() => undefined);
    if (found?.isFile() !== true) return undefined;
    const state = stateOf(found);
    return {
      sizeBytes: Number(found.size),
      state,
      plaintextSha256: await this.hashBeside(resource),
      open: (range) => opened(path, range, state),
    };
  }

  /** A hash file that says nothing is no reason to go on without: whoever shipped it wanted the content checked. */
  private async hashBeside(resource: ResourceName): Promise<string | undefined> {
    let text: string | undefined;
    try {
      const file = await open(this.pathOf(resource, 'sha256'), 'r');
      try {
        const { bytesRead, buffer } = await file.read(Buffer.alloc(MAX_HASH_FILE_BYTES), 0, MAX_HASH_FILE_BYTES, 0);
        text = buffer.toString('latin1', 0, bytesRead);
      } finally {
        await file.close();
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    }
    const hash = /^\\?([0-9a-fA-F]{64})(?:\s|$)/.exec(text ?? '')?.[1];
    if (hash === undefined)
      throw new ResourceError('cdn.missing', 'The hash that lies beside the local copy cannot be read: put it right.');
    return hash.toLowerCase();
  }

  /** Names are checked at the edge: they hold no separators and do not start with a dot. */
  private pathOf({ folder, name }: ResourceName, suffix: 'big' | 'sha256'): string {
    return join(this.directory, folder, `${name}.${suffix}`);
  }
}

function stateOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join('-');
}

async function opened(path: string, range: ByteRange, state: string): Promise<Readable> {
  const file = await open(path, 'r').catch((cause: unknown) => {
    throw new ResourceError('cdn.missing', 'The local copy cannot be read.', { cause });
  });
  try {
    await checkState(file, state);
  } catch (error) {
    await file.close();
    throw error;
  }
  const stream = Readable.from(pieces(file, range, state), { objectMode: true, highWaterMark: 1 });
  stream.once('close', () => void file.close().catch(() => undefined)); // nothing was written
  return stream;
}

async function* pieces(file: FileHandle, { start, end }: ByteRange, state: string): AsyncGenerator<Buffer, void> {
  for (let at = start; at < end;) {
    const target = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, end - at));
    const { bytesRead } = await file.read(target, 0, target.length, at);
    await checkState(file, state); // after each piece: a file may also be overwritten in its place
    if (bytesRead === 0) return;
    at += bytesRead;
    yield target.subarray(0, bytesRead);
  }
}

async function checkState(file: FileHandle, state: string): Promise<void> {
  if (stateOf(await file.stat({ bigint: true })) !== state)
    throw new ResourceError('cdn.unavailable', 'The local copy was replaced while it was read: ask for it again.');
}
