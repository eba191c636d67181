import { createHash } from 'node:crypto';

import type { StatementImage } from '@azaion/crypto';

import { UnlockError } from '../errors.js';
import type { ExpectedImage } from '../expected-image.js';
import { ArchiveInspector, type ArchiveSurvey, type RangedArchive } from '../ports/archive-inspector.js';
import { ArchiveSource, type FoundArchive, type OpenArchive } from '../ports/archive-source.js';
import { archiveEnd, readDockerArchive } from './docker-archive.js';

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
      identity: createHash('sha256').update(archive.bytes).digest('hex'),
      version: null,
      open: () => Promise.resolve(openInMemory(archive.bytes, pieceBytes)),
    });
  }
}

/** Bytes as an open archive. What was read counts as cached. */
export function openInMemory(bytes: Buffer, pieceBytes = 1000): OpenArchive {
  let cachedBytes = 0;
  return {
    totalBytes: bytes.length,
    read: async function* (_, range) {
      for await (const piece of inPieces(bytes.subarray(range?.start, range?.end), pieceBytes)) {
        cachedBytes += piece.length;
        yield piece;
      }
    },
    traffic: () => ({ downloadedBytes: 0, cachedBytes }),
  };
}

/** Bytes in pieces, each in memory of its own. */
export async function* inPieces(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes)
    yield await Promise.resolve(new Uint8Array(bytes.subarray(at, at + pieceBytes)));
}

/** Inspects small archives as a whole. */
export class InMemoryArchiveInspector extends ArchiveInspector {
  override async survey(archive: RangedArchive): Promise<ArchiveSurvey | undefined> {
    const images = readDockerArchive(Buffer.from(await archive.read({ start: 0, end: archive.totalBytes })));
    if (images === undefined) throw notAnArchive();
    const layers = [...new Map(images.map((image) => [image.chainId, image])).values()]
      .flatMap(({ layer: range, chainId, layerName }) =>
        range === undefined ? [] : [{ chainIds: [chainId], range, layerName }],
      )
      .toSorted((left, right) => left.range.start - right.range.start);
    return {
      images,
      layers: layers.map(({ chainIds, range }) => ({ chainIds, range })),
      parts: (known, leastBytes, references) => {
        const missing = layers.filter(({ chainIds }) => !chainIds.every((chainId) => known.has(chainId)));
        // The last one comes with the images themselves.
        const large = missing.slice(0, -1).filter(({ range }) => range.end - range.start >= leastBytes);
        const parts = large.slice(0, references.length).map(({ chainIds, range, layerName }, index) => {
          const reference = references[index]!;
          const end = archiveEnd({ reference, chainId: chainIds[0]!, layerName });
          return { layers: [{ chainIds, range }], references: [reference], pieces: [range, end] };
        });
        return Promise.resolve(parts);
      },
    };
  }

  override async *passThrough(
    archive: AsyncIterable<Uint8Array>,
    accept: (images: readonly StatementImage[]) => void,
  ): AsyncGenerator<Uint8Array> {
    const pieces: Uint8Array[] = [];
    for await (const piece of archive) pieces.push(piece);
    const images = readDockerArchive(Buffer.concat(pieces));
    if (images === undefined) throw notAnArchive();
    accept(images);
    yield* pieces;
  }
}

function notAnArchive(): UnlockError {
  return new UnlockError('unlock.archive-invalid', 'This is not an image archive.');
}
