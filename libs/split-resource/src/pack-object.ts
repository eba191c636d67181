import type { Readable } from 'node:stream';

import type { ByteRange } from '@azaion/kernel';

import { ResourceError } from './errors.js';
import { bytesInPack, type PackExtents, rangeInObject } from './pack-extents.js';
import type { ObjectStore } from './ports/object-store.js';

/** Where the bytes of a pack lie in an object store. */
export interface PackObject {
  readonly key: string;
  /** Of a compacted pack. */
  readonly extents?: PackExtents | undefined;
}

/**
 * Reads a range of a pack from its object. Unverified.
 *
 * @param range - Held in memory as a whole.
 * @throws ResourceError `pack.not-found` | `cdn.unavailable`.
 */
export async function readPack(store: ObjectStore, object: PackObject, range: ByteRange): Promise<Buffer> {
  const { key, extents } = object;
  const stored = rangeInObject(extents, range);
  const bytes =
    stored.start === stored.end
      ? Buffer.alloc(0)
      : await collect(await store.read(key, stored), stored.end - stored.start);
  return bytesInPack(extents, range, bytes);
}

async function collect(stream: Readable, expectedBytes: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(expectedBytes);
  let filledBytes = 0;
  try {
    for await (const part of stream as AsyncIterable<Uint8Array>) {
      if (filledBytes + part.length > expectedBytes) throw interrupted();
      bytes.set(part, filledBytes);
      filledBytes += part.length;
    }
  } catch (cause) {
    throw cause instanceof ResourceError ? cause : interrupted(cause);
  } finally {
    stream.destroy();
  }
  if (filledBytes < expectedBytes) throw interrupted();
  return bytes;
}

function interrupted(cause?: unknown): ResourceError {
  return new ResourceError('cdn.unavailable', 'The object store did not send what was asked for.', { cause });
}
