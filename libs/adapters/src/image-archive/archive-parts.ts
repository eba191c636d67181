import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';

import type { ByteRange } from '@azaion/kernel';
import type { ArchivedLayer, ArchivePart } from '@azaion/unlock';
import { pack } from 'tar-stream';

/** An image of an archive, as far as its layers go. */
export interface LayeredImage {
  /** What the image runs on, as its configuration says. */
  readonly platform: { readonly architecture?: unknown; readonly os?: unknown };
  /** From the bottom. */
  readonly diffIds: readonly string[];
  /** Of the same layers. */
  readonly chainIds: readonly string[];
  /** Their files, links followed. */
  readonly files: readonly string[];
}

/** {@link ArchiveSurvey.parts} of an archive with these images. */
export async function archiveParts(
  images: readonly LayeredImage[],
  layers: readonly ArchivedLayer[],
  known: ReadonlySet<string>,
  leastBytes: number,
  references: readonly string[],
): Promise<readonly ArchivePart[]> {
  const parts: ArchivePart[] = [];
  const free = [...references];
  let there: ReadonlySet<string> = known;
  let coming: ArchivedLayer[] = [];
  for (const layer of layers) {
    if (layer.chainIds.every((chainId) => known.has(chainId))) continue;
    coming.push(layer);
    if (bytesOf(coming) < leastBytes) continue;
    const chainIds = coming.flatMap((one) => one.chainIds).filter((chainId) => !there.has(chainId));
    const then = new Set([...there, ...chainIds]);
    const stacks = stacksOf(images, then, there);
    // A layer stands on those below it: where they come later in the archive, so does the end of this part.
    if (!chainIds.every((chainId) => stacks.some((stack) => stack.chainIds.includes(chainId)))) continue;
    if (stacks.length > free.length) break;
    const names = free.splice(0, stacks.length);
    parts.push({ layers: coming, references: names, pieces: [...rangesOf(coming), await indexOf(stacks, names)] });
    there = then;
    coming = [];
  }
  // What comes last comes with the images themselves.
  return bytesOf(coming) < leastBytes ? parts.slice(0, -1) : parts;
}

/** Images of the lowest layers of the archive's images, as far up as `then` reaches; only those that reach further up than `there`. */
function stacksOf(
  images: readonly LayeredImage[],
  then: ReadonlySet<string>,
  there: ReadonlySet<string>,
): readonly LayeredImage[] {
  const stacks = new Map<string, LayeredImage>();
  for (const { platform, diffIds, chainIds, files } of images) {
    const above = chainIds.findIndex((chainId) => !then.has(chainId));
    const height = above < 0 ? chainIds.length : above;
    const top = chainIds[height - 1];
    if (top === undefined || there.has(top)) continue;
    const cut = (all: readonly string[]): readonly string[] => all.slice(0, height);
    stacks.set(top, { platform, diffIds: cut(diffIds), chainIds: cut(chainIds), files: cut(files) });
  }
  return [...stacks.values()];
}

/** The files that make an archive of layers: a configuration for each stack, and the manifest that names them. */
async function indexOf(stacks: readonly LayeredImage[], references: readonly string[]): Promise<Uint8Array> {
  const tar = pack();
  const manifest = stacks.map(({ platform: { architecture, os }, diffIds, files }, index) => {
    const config = JSON.stringify({ architecture, os, config: {}, rootfs: { type: 'layers', diff_ids: diffIds } });
    const name = `${createHash('sha256').update(config).digest('hex')}.json`;
    tar.entry({ name }, config);
    return { Config: name, RepoTags: [references[index]], Layers: files };
  });
  tar.entry({ name: 'manifest.json' }, JSON.stringify(manifest));
  tar.finalize();
  return buffer(tar);
}

/** Where they lie, neighbours as one. */
function rangesOf(layers: readonly ArchivedLayer[]): readonly ByteRange[] {
  const ranges: ByteRange[] = [];
  for (const { range } of layers) {
    const last = ranges.at(-1);
    if (last?.end === range.start) ranges[ranges.length - 1] = { start: last.start, end: range.end };
    else ranges.push(range);
  }
  return ranges;
}

function bytesOf(layers: readonly ArchivedLayer[]): number {
  return layers.reduce((sum, { range }) => sum + range.end - range.start, 0);
}
