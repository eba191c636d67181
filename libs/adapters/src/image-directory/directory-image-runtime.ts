import { createHash, randomBytes } from 'node:crypto';
import { type BigIntStats, createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

import type { StatementImage } from '@azaion/crypto';
import { releaseBytes } from '@azaion/kernel';
import {
  abortable,
  canonicalReference,
  type EngineImage,
  type ImageAssignment,
  ImageRuntime,
  UnlockError,
} from '@azaion/unlock';

import { replaceDurably } from '../file-store/index.js';
import { TarArchiveInspector } from '../image-archive/index.js';

const ARCHIVE_NAME = 'azaion-images.tar';
const INDEX_NAME = 'azaion-images.json';
const PARTIAL_SUFFIX = '.partial';
const MAX_INDEX_BYTES = 1024 * 1024;
const READ_BYTES = 1024 * 1024;

const inspector = new TarArchiveInspector();

/** What lies beside the archive: which images it holds. */
interface DirectoryIndex {
  readonly sizeBytes: number;
  /** Hex; of the archive as it was written. */
  readonly sha256: string;
  /** The file as the system knows it: while this stays, nobody has written to it. */
  readonly stamp: string;
  readonly images: readonly StatementImage[];
}

/**
 * A directory from which an orchestrator imports image archives, as k3s does from `agent/images`. It holds one archive: a new one
 * replaces it. The archive appears under its name only when it is complete; images count as present while its bytes are what was written:
 * they are read again whenever the file was touched since.
 * Its purpose is a plaintext file: mode 0600.
 */
export class DirectoryImageRuntime extends ImageRuntime {
  constructor(private readonly directory: string) {
    super();
  }

  override async present(references: readonly string[], signal: AbortSignal): Promise<readonly EngineImage[]> {
    signal.throwIfAborted();
    const index = await this.readIndex(signal);
    return references.flatMap((reference) => {
      const image = index?.images.find(
        (candidate) => canonicalReference(candidate.reference) === canonicalReference(reference),
      );
      return image === undefined ? [] : [{ reference, imageId: image.configDigest }];
    });
  }

  override async load(archive: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<readonly EngineImage[]> {
    signal.throwIfAborted();
    try {
      await mkdir(this.directory, { recursive: true, mode: 0o700 });
      await this.removePartials();
      let images: readonly StatementImage[] = [];
      const inspected = inspector.passThrough(abortable(archive, signal), (found) => (images = found));
      const partial = this.path(`${ARCHIVE_NAME}.${randomBytes(8).toString('hex')}${PARTIAL_SUFFIX}`);
      try {
        const { sizeBytes, sha256 } = await writeDurably(partial, inspected);
        signal.throwIfAborted();
        // Without its index the old archive counts as absent: at no moment does an index speak of another archive.
        await rm(this.path(INDEX_NAME), { force: true });
        await rename(partial, this.path(ARCHIVE_NAME));
        const stamp = stampOf(await stat(this.path(ARCHIVE_NAME), { bigint: true }));
        await replaceDurably(this.path(INDEX_NAME), JSON.stringify({ sizeBytes, sha256, stamp, images }));
        return images.map((image) => ({ reference: image.reference, imageId: image.configDigest }));
      } finally {
        await rm(partial, { force: true });
      }
    } catch (error) {
      throw directoryError(error);
    }
  }

  override async assign(assignments: readonly ImageAssignment[], signal: AbortSignal): Promise<void> {
    const present = await this.present(
      assignments.map(({ reference }) => reference),
      signal,
    );
    const changes = assignments.some(({ reference, imageId }) => {
      const before = present.find((image) => image.reference === reference)?.imageId ?? null;
      return before !== null && before !== imageId;
    });
    if (!changes) return;
    try {
      await rm(this.path(INDEX_NAME), { force: true });
      await rm(this.path(ARCHIVE_NAME), { force: true });
    } catch (error) {
      throw directoryError(error);
    }
  }

  /** Takes away everything that this runtime has written, also what a killed process has left. @throws UnlockError. */
  async clear(): Promise<void> {
    try {
      for (const name of [INDEX_NAME, ARCHIVE_NAME]) await rm(this.path(name), { force: true });
      await this.removePartials();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw directoryError(error);
    }
  }

  /** An orchestrator imports whole archives. */
  override layers(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  private async readIndex(signal: AbortSignal): Promise<DirectoryIndex | undefined> {
    try {
      const index = parseIndex(await readFile(this.path(INDEX_NAME), 'utf8'));
      const archive = await stat(this.path(ARCHIVE_NAME), { bigint: true });
      if (index === undefined || archive.size !== BigInt(index.sizeBytes)) return undefined;
      if (stampOf(archive) === index.stamp) return index;
      return (await sha256Of(this.path(ARCHIVE_NAME), signal)) === index.sha256 ? index : undefined;
    } catch (error) {
      signal.throwIfAborted();
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw directoryError(error);
    }
  }

  /** What a killed process left behind. */
  private async removePartials(): Promise<void> {
    const names = await readdir(this.directory);
    const partials = names.filter((name) => name.startsWith('azaion-images.') && name.endsWith(PARTIAL_SUFFIX));
    await Promise.all(partials.map((name) => rm(this.path(name), { force: true })));
  }

  private path(name: string): string {
    return join(this.directory, name);
  }
}

function stampOf({ dev, ino, ctimeNs }: BigIntStats): string {
  return [dev, ino, ctimeNs].join('-');
}

async function sha256Of(path: string, signal: AbortSignal): Promise<string> {
  const hashing = createHash('sha256');
  for await (const bytes of createReadStream(path, { signal, highWaterMark: READ_BYTES }) as AsyncIterable<Buffer>)
    hashing.update(bytes);
  return hashing.digest('hex');
}

/** Memory is given back as soon as its bytes are written: left to the collector, an archive would make it run hundreds of times over. */
async function writeDurably(
  path: string,
  content: AsyncIterable<Uint8Array>,
): Promise<{ readonly sizeBytes: number; readonly sha256: string }> {
  const hashing = createHash('sha256');
  const file = await open(path, 'w', 0o600);
  try {
    let sizeBytes = 0;
    for await (const bytes of content) {
      await file.writeFile(bytes);
      hashing.update(bytes);
      sizeBytes += bytes.length;
      releaseBytes(bytes);
    }
    await file.sync();
    return { sizeBytes, sha256: hashing.digest('hex') };
  } finally {
    await file.close();
  }
}

function parseIndex(text: string): DirectoryIndex | undefined {
  if (text.length > MAX_INDEX_BYTES) return undefined;
  try {
    const { sizeBytes, sha256, stamp, images } = JSON.parse(text) as Partial<DirectoryIndex>;
    if (!Number.isSafeInteger(sizeBytes) || typeof sha256 !== 'string' || !Array.isArray(images)) return undefined;
    return { sizeBytes: Number(sizeBytes), sha256, stamp: stamp ?? '', images: images.filter(isImage) };
  } catch {
    return undefined;
  }
}

function isImage(value: unknown): value is StatementImage {
  const image = value as Partial<StatementImage> | null;
  return typeof image?.reference === 'string' && typeof image.configDigest === 'string';
}

function directoryError(error: unknown): unknown {
  const code = error instanceof UnlockError ? undefined : (error as NodeJS.ErrnoException).code;
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new UnlockError('unlock.no-space', 'The image directory is full. Make room, then start again.', {
      cause: error,
    });
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
    return new UnlockError('unlock.engine-forbidden', 'This process may not write to the image directory.', {
      cause: error,
    });
  if (code === 'ENOTDIR' || code === 'EEXIST')
    return new UnlockError('unlock.engine-unreachable', 'The image directory is not a directory.', { cause: error });
  return error;
}
