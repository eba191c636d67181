import { releaseBytes } from '@azaion/kernel';

import { abortable } from '../abortable.js';
import { UnlockError } from '../errors.js';
import { canonicalReference } from '../expected-image.js';
import { type EngineImage, type ImageAssignment, ImageRuntime } from '../ports/image-runtime.js';
import { readDockerArchive } from './docker-archive.js';

/** An engine that keeps nothing but the names, ids and layer ids of small images. It takes archives without the layers that it has. */
export class InMemoryImageRuntime extends ImageRuntime {
  private readonly images = new Map<string, string>();
  /** Chain id of each image's only layer, by the image's id. */
  private readonly chains = new Map<string, string>();

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
    for await (const piece of abortable(archive, signal)) {
      pieces.push(Buffer.from(piece));
      releaseBytes(piece);
    }
    const images = readDockerArchive(Buffer.concat(pieces));
    const known = await this.layers(signal);
    const complete = images?.every(({ layer, chainId }) => layer !== undefined || known.has(chainId)) ?? false;
    if (images === undefined || images.length === 0 || !complete)
      throw new UnlockError('unlock.archive-invalid', 'The engine refused the archive.');
    for (const { reference, configDigest, chainId } of images) {
      this.images.set(canonicalReference(reference), configDigest);
      this.chains.set(configDigest, chainId);
    }
    return images.map(({ reference, configDigest }) => ({ reference, imageId: configDigest }));
  }

  override assign(assignments: readonly ImageAssignment[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    for (const { reference, imageId } of assignments) {
      if (imageId === null) this.images.delete(canonicalReference(reference));
      else if (this.chains.has(imageId)) this.images.set(canonicalReference(reference), imageId);
      else return Promise.reject(new UnlockError('unlock.engine-failed', 'There is no such image.'));
    }
    return Promise.resolve();
  }

  override layers(signal: AbortSignal): Promise<ReadonlySet<string>> {
    signal.throwIfAborted();
    const held = new Set(this.images.values());
    return Promise.resolve(new Set([...this.chains].flatMap(([id, chain]) => (held.has(id) ? [chain] : []))));
  }
}
