import { hash, randomBytes, randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';

import type { ByteRange } from '@azaion/kernel';

import type { PackRef } from '../pack.js';

/** A pack reference for suites that do not look at its hash. */
export function anyPack(sizeBytes: number): PackRef {
  return { packId: randomBytes(16).toString('hex'), sizeBytes, sha256: Buffer.alloc(32) };
}

/** A folder that nothing is in. */
export function anyFolder(): string {
  return randomUUID();
}

/** A part of a buffer. */
export function sliceOf(bytes: Buffer, { start, end }: ByteRange): Buffer {
  return bytes.subarray(start, end);
}

/** Everything a stream brings. */
export async function collected(stream: Readable): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of stream as AsyncIterable<Uint8Array>) parts.push(part);
  return Buffer.concat(parts);
}

/** What two equal byte strings have in common; comparing them element by element would take seconds. */
export function digestOf(bytes: Uint8Array | undefined): string | undefined {
  return bytes && `${bytes.length} bytes, SHA-256 ${hash('sha256', bytes, 'hex')}`;
}
