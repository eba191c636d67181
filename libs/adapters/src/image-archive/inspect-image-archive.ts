import { Readable } from 'node:stream';

import type { StatementImage } from '@azaion/crypto';

import { ImageArchiveReader } from './image-archive-reader.js';

/** An archive that is inspected while somebody else reads it. */
export interface InspectedImageArchive {
  /** The same bytes. It fails with the archive's own errors, and with UnlockError `unlock.archive-invalid` | `unlock.archive-truncated`. */
  readonly content: Readable;
  /** The archive's images; resolves after {@link InspectedImageArchive.content} was read to its end. */
  readonly images: () => Promise<readonly StatementImage[]>;
}

/** Lets an archive pass to its reader and reads along which images it holds: for publishing without reading it twice. */
export function inspectWhilePassing(archive: AsyncIterable<Uint8Array>): InspectedImageArchive {
  let resolve: (images: readonly StatementImage[]) => void;
  let reject: (error: unknown) => void;
  const images = new Promise<readonly StatementImage[]>((onImages, onError) => {
    resolve = onImages;
    reject = onError;
  });
  // Whoever never asks for the images has seen the same error in the content.
  images.catch(() => undefined);
  async function* passing(): AsyncGenerator<Uint8Array> {
    const reader = new ImageArchiveReader();
    try {
      for await (const bytes of archive) {
        await reader.write(bytes);
        yield bytes;
      }
      resolve(await reader.end());
    } catch (error) {
      reject(error);
      throw error;
    } finally {
      reader.destroy();
    }
  }
  return { content: Readable.from(passing(), { objectMode: false }), images: () => images };
}

/**
 * Reads a `docker save` archive or OCI layout (plain tar) to its end.
 *
 * @param archive - Untrusted bytes.
 * @returns Its images, with digests computed from its bytes.
 * @throws UnlockError `unlock.archive-invalid` | `unlock.archive-truncated`.
 */
export async function inspectImageArchive(archive: AsyncIterable<Uint8Array>): Promise<readonly StatementImage[]> {
  const reader = new ImageArchiveReader();
  try {
    for await (const bytes of archive) await reader.write(bytes);
    return await reader.end();
  } finally {
    reader.destroy();
  }
}
