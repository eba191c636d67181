import { createHash } from 'node:crypto';
import { posix } from 'node:path';

import type { ByteRange } from '@azaion/kernel';
import type { ArchivedLayer, ArchiveSurvey, RangedArchive } from '@azaion/unlock';

import { archiveParts, type LayeredImage } from './archive-parts.js';
import { chainIdsOf } from './chain-ids.js';
import { invalid, readImageIndex, type SmallFile } from './image-index.js';
import { admitName, MAX_ENTRIES, MAX_SMALL_FILE_BYTES, MAX_SMALL_FILES_BYTES, mayBeJson } from './small-files.js';
import { ArchiveWindow, tarEntries, UnknownTarForm } from './tar-headers.js';

/**
 * Reads what an archive holds from its headers and small files alone.
 *
 * @returns `undefined` for forms of tar that have to be read as a whole.
 * @throws UnlockError `unlock.archive-invalid` | `unlock.archive-truncated`; what the archive's reads throw.
 */
export async function surveyArchive(archive: RangedArchive): Promise<ArchiveSurvey | undefined> {
  const window = new ArchiveWindow(archive);
  const files = new Map<string, SmallFile>();
  const places = new Map<string, ByteRange>();
  const links = new Map<string, string>();
  let keptBytes = 0;
  try {
    for await (const { name: rawName, kind, target, range, content } of tarEntries(window)) {
      const name = admitName(rawName);
      if (kind === 'directory') continue;
      if (places.has(name) || links.has(name)) throw invalid('it holds one file twice');
      if (kind === 'symlink') {
        links.set(name, posix.join(posix.dirname(name), target));
        continue;
      }
      places.set(name, range);
      if (places.size + links.size > MAX_ENTRIES) throw invalid('it holds too many files');
      const sizeBytes = content.end - content.start;
      if (sizeBytes === 0 || sizeBytes > MAX_SMALL_FILE_BYTES) continue;
      if (!mayBeJson(await window.read(content.start, 1))) continue;
      keptBytes += sizeBytes;
      if (keptBytes > MAX_SMALL_FILES_BYTES) throw invalid('it holds too many small files');
      const bytes = Buffer.from(await window.read(content.start, sizeBytes));
      files.set(name, { bytes, sha256: createHash('sha256').update(bytes).digest('hex') });
    }
  } catch (error) {
    if (error instanceof UnknownTarForm) return undefined;
    throw error;
  }
  const images = readImageIndex(files);
  const layered = layeredImages(files, links);
  const layers = layersOf(layered, files, places);
  return {
    images,
    layers,
    parts: (known, leastBytes, references) => archiveParts(layered, layers, known, leastBytes, references),
  };
}

/** Images as `manifest.json` names them; an OCI layout alone has compressed layers, which no engine goes without. */
function layeredImages(
  files: ReadonlyMap<string, SmallFile>,
  links: ReadonlyMap<string, string>,
): readonly LayeredImage[] {
  const images: LayeredImage[] = [];
  const manifest = parsed(files.get('manifest.json')) as readonly DockerManifest[] | undefined;
  for (const { Config: configName, Layers: names } of manifest ?? []) {
    const config = parsed(files.get(configName ?? '')) as ImageConfig | undefined;
    const diffIds = config?.rootfs?.diff_ids;
    // An archive whose parts do not fit together is the engine's to refuse, as a whole.
    if (!isTexts(names) || !isTexts(diffIds) || names.length !== diffIds.length) return [];
    const chainIds = chainIdsOf(diffIds);
    if (chainIds.length !== diffIds.length) return [];
    // One layer under two names: docker writes the second as a link.
    const layerFiles = names.map((name) => links.get(name) ?? name);
    const { architecture, os } = config ?? {};
    images.push({ platform: { architecture, os }, diffIds, chainIds, files: layerFiles });
  }
  return images;
}

/** The layers of these images; none where one has no file of its own. */
function layersOf(
  images: readonly LayeredImage[],
  files: ReadonlyMap<string, SmallFile>,
  places: ReadonlyMap<string, ByteRange>,
): readonly ArchivedLayer[] {
  const layers = new Map<string, { readonly chainIds: Set<string>; readonly range: ByteRange }>();
  for (const image of images) {
    for (const [index, chainId] of image.chainIds.entries()) {
      const name = image.files[index] ?? '';
      const range = places.get(name);
      if (range === undefined || files.has(name)) return [];
      const layer = layers.get(name) ?? { chainIds: new Set(), range };
      layer.chainIds.add(chainId);
      layers.set(name, layer);
    }
  }
  return [...layers.values()]
    .map(({ chainIds, range }) => ({ chainIds: [...chainIds], range }))
    .toSorted((left, right) => left.range.start - right.range.start);
}

interface DockerManifest {
  readonly Config?: string;
  readonly Layers?: unknown;
}

interface ImageConfig {
  readonly architecture?: unknown;
  readonly os?: unknown;
  readonly rootfs?: { readonly diff_ids?: unknown };
}

/** Files that {@link readImageIndex} has accepted: JSON of the right outer form. */
function parsed(file: SmallFile | undefined): unknown {
  return file === undefined ? undefined : JSON.parse(file.bytes.toString('utf8'));
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}
