import { type StatementImage } from '@azaion/crypto';

import { UnlockError } from '../errors.js';
import { type ExpectedImage } from '../expected-image.js';
import { ArchiveInspector } from '../ports/archive-inspector.js';
import { ArchiveSource, type FoundArchive } from '../ports/archive-source.js';
import { readDockerArchive } from './docker-archive.js';

/** An archive that is there in memory, or is not. */
export class InMemoryArchiveSource extends ArchiveSource {
  constructor(
    private readonly archive: { readonly bytes: Buffer; readonly images: readonly ExpectedImage[] } | undefined,
    private readonly pieceBytes = 1000,
  ) {
    super();
  }

  override find(): Promise<FoundArchive> {
    const { archive, pieceBytes } = this;
    if (archive === undefined)
      return Promise.reject(new UnlockError('unlock.archive-not-found', 'Encrypted archive not found'));
    return Promise.resolve({
      images: archive.images,
      totalBytes: archive.bytes.length,
      read: () => inPieces(archive.bytes, pieceBytes),
    });
  }
}

/** Bytes in pieces. */
export async function* inPieces(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes)
    yield await Promise.resolve(bytes.subarray(at, at + pieceBytes));
}

/** Inspects small archives as a whole before it passes on the first byte. */
export class InMemoryArchiveInspector extends ArchiveInspector {
  override async *passThrough(
    archive: AsyncIterable<Uint8Array>,
    accept: (images: readonly StatementImage[]) => void,
  ): AsyncGenerator<Uint8Array> {
    const pieces: Uint8Array[] = [];
    for await (const piece of archive) pieces.push(piece);
    const images = readDockerArchive(Buffer.concat(pieces));
    if (images === undefined) throw new UnlockError('unlock.archive-invalid', 'This is not an image archive.');
    accept(images);
    yield* pieces;
  }
}
