import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { pack, type Pack } from 'tar-stream';
import { pseudoRandomPieces } from './pseudo-random.js';

/** One layer of a generated image: a file of random bytes, and further files as given. */
export interface GeneratedLayer {
  readonly seed: string;
  readonly sizeBytes: number;
  /** Path (relative, as in a tar) → contents. */
  readonly files?: Readonly<Record<string, Uint8Array>>;
}

/** A generated image. The same description gives the same bytes, and so the same image id, on every machine. */
export interface GeneratedImage {
  /** Repository and tag, such as `azaion/api:1`. */
  readonly name: string;
  readonly layers: readonly GeneratedLayer[];
  /** What a container would run. */
  readonly command?: readonly string[];
}

/** An archive as `docker save` writes it. */
export interface ImageArchive {
  /** The ids that an engine gives the images when it loads them (`sha256:…`, the hash of the configuration), in order. */
  readonly imageIds: readonly string[];
  /** Opens the archive from its start; may be called again. */
  open(): Readable;
}

interface ImageParts {
  readonly image: GeneratedImage;
  readonly configuration: Buffer;
  readonly digest: string;
  readonly layerDigests: readonly string[];
}

const EPOCH = new Date(0);

/** Makes an archive that a Docker engine loads. Layers are made twice, first for their hashes, and never held in memory. */
export async function imageArchive(images: readonly GeneratedImage[]): Promise<ImageArchive> {
  const parts: ImageParts[] = [];
  for (const image of images) parts.push(await describeImage(image));
  return {
    imageIds: parts.map(({ digest }) => `sha256:${digest}`),
    open: () => streaming((tar) => writeArchive(tar, parts)),
  };
}

async function describeImage(image: GeneratedImage): Promise<ImageParts> {
  const layerDigests: string[] = [];
  for (const layer of image.layers) {
    const hash = createHash('sha256');
    for await (const piece of layerTar(layer)) hash.update(piece as Buffer);
    layerDigests.push(hash.digest('hex'));
  }
  const configuration = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      created: EPOCH.toISOString(),
      config: { Cmd: image.command ?? ['/nothing'] },
      rootfs: { type: 'layers', diff_ids: layerDigests.map((digest) => `sha256:${digest}`) },
      history: image.layers.map(() => ({ created: EPOCH.toISOString(), created_by: 'generated' })),
    }),
  );
  return { image, configuration, digest: createHash('sha256').update(configuration).digest('hex'), layerDigests };
}

async function writeArchive(tar: Pack, parts: readonly ImageParts[]): Promise<void> {
  const written = new Set<string>();
  for (const { image, configuration, digest, layerDigests } of parts) {
    for (const [index, layer] of image.layers.entries()) {
      const path = layerPath(layerDigests[index]!);
      if (written.has(path)) continue;
      written.add(path);
      await addFile(tar, path, layerTar(layer), layerTarBytes(layer));
    }
    await addFile(tar, `${digest}.json`, [configuration], configuration.length);
  }
  const manifest = parts.map(({ image, digest, layerDigests }) => ({
    Config: `${digest}.json`,
    RepoTags: [image.name],
    Layers: layerDigests.map(layerPath),
  }));
  const manifestBytes = Buffer.from(JSON.stringify(manifest));
  await addFile(tar, 'manifest.json', [manifestBytes], manifestBytes.length);
}

function layerPath(digest: string): string {
  return `${digest}/layer.tar`;
}

function layerTar(layer: GeneratedLayer): Readable {
  return streaming(async (tar) => {
    for (const { path, sizeBytes, pieces } of layerFiles(layer)) await addFile(tar, path, pieces, sizeBytes);
  });
}

function layerFiles(layer: GeneratedLayer): { path: string; sizeBytes: number; pieces: Iterable<Uint8Array> }[] {
  const given = Object.entries(layer.files ?? {}).map(([path, bytes]) => ({
    path,
    sizeBytes: bytes.length,
    pieces: [bytes],
  }));
  const random = {
    path: `data-${createHash('sha256').update(layer.seed).digest('hex').slice(0, 12)}.bin`,
    sizeBytes: layer.sizeBytes,
    pieces: pseudoRandomPieces(layer.seed, layer.sizeBytes),
  };
  return [...given, random];
}

/** Tar: a 512-byte header for each file, contents padded to 512 bytes, 1024 zero bytes at the end. */
function layerTarBytes(layer: GeneratedLayer): number {
  const contents = layerFiles(layer).map(({ sizeBytes }) => 512 + Math.ceil(sizeBytes / 512) * 512);
  return contents.reduce((sum, bytes) => sum + bytes, 1024);
}

async function addFile(
  tar: Pack,
  path: string,
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  sizeBytes: number,
): Promise<void> {
  const entry = tar.entry({ name: path, size: sizeBytes, mode: 0o755, mtime: EPOCH, uid: 0, gid: 0 });
  for await (const piece of pieces) {
    if (!entry.write(piece)) await once(entry, 'drain');
  }
  const finished = once(entry, 'finish');
  entry.end(undefined);
  await finished;
}

function streaming(write: (tar: Pack) => Promise<void>): Readable {
  const tar = pack();
  write(tar).then(
    () => tar.finalize(),
    (error: unknown) => tar.destroy(error as Error),
  );
  return Readable.from(tar, { objectMode: false });
}
