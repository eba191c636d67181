import { abortable } from '../abortable.js';
import { UnlockError } from '../errors.js';
import { canonicalReference } from '../expected-image.js';
import { type EngineImage, ImageRuntime } from '../ports/image-runtime.js';
import { readDockerArchive } from './docker-archive.js';

/** An engine that keeps nothing but the names and ids of small images. */
export class InMemoryImageRuntime extends ImageRuntime {
  private readonly images = new Map<string, string>();

  override present(references: readonly string[], signal: AbortSignal): Promise<readonly EngineImage[]> {
    signal.throwIfAborted();
    const found = references.flatMap((reference) => {
      const imageId = this.images.get(canonicalReference(reference));
      return imageId === undefined ? [] : [{ reference, imageId }];
    });
    return Promise.resolve(found);
  }

  override async load(archive: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<readonly EngineImage[]> {
    const pieces: Uint8Array[] = [];
    for await (const piece of abortable(archive, signal)) pieces.push(piece);
    const images = readDockerArchive(Buffer.concat(pieces));
    if (images === undefined || images.length === 0)
      throw new UnlockError('unlock.archive-invalid', 'The engine refused the archive.');
    for (const { reference, configDigest } of images) this.images.set(canonicalReference(reference), configDigest);
    return images.map(({ reference, configDigest }) => ({ reference, imageId: configDigest }));
  }

  override remove(references: readonly string[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    for (const reference of references) this.images.delete(canonicalReference(reference));
    return Promise.resolve();
  }
}
