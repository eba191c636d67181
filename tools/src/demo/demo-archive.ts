import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';

import { type GeneratedImage, imageArchive } from '@azaion/testing';

const SHARED_LAYER_BYTES = 4_000_000;
const OWN_LAYER_BYTES = 500_000;
const REPOSITORIES = ['azaion/detections', 'azaion/flights'] as const;

/**
 * Writes an archive as `docker save` does, with two small images that share a layer. One layer is new each time, so that there is something
 * to unlock at every start.
 *
 * @returns The ids that an engine gives the images.
 */
export async function writeDemoArchive(path: string, tag: string): Promise<readonly string[]> {
  const shared = { seed: 'demo-base', sizeBytes: SHARED_LAYER_BYTES };
  const images = REPOSITORIES.map((repository): GeneratedImage => ({
    name: `${repository}:${tag}`,
    layers: [shared, { seed: randomBytes(8).toString('hex'), sizeBytes: OWN_LAYER_BYTES }],
  }));
  const archive = await imageArchive(images);
  await pipeline(archive.open(), createWriteStream(path));
  return archive.imageIds;
}
