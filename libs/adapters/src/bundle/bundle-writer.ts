import { createHash } from 'node:crypto';
import { mkdir, open, rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { buffer } from 'node:stream/consumers';

import type { SegmentKind } from '@azaion/crypto';
import { equalBytes, toHex } from '@azaion/kernel';
import {
  type BundledFile,
  type BundledResource,
  type CompactedPack,
  encodeGrantFile,
  encodeManifest,
  type ExportTarget,
  type GrantAnswer,
  grantPath,
  KEY_DOCUMENT_PATH,
  MANIFEST_PATH,
  MAX_RANGE_BYTES,
  packPath,
  type PackLocation,
  type PackRef,
  type PackSource,
  type PackUrl,
  rangeInObject,
  ResourceError,
  segmentPath,
  statementPath,
} from '@azaion/split-resource';

import { replaceDurably } from '../file-store/index.js';
import { DirectoryBundle } from './directory-bundle.js';

const FIRST_BYTE_MS = 30_000;
const ATTEMPTS = 4;

/** Writes a bundle into a directory. Until `finish` it has no manifest and is none; packs that are there already, whole, are not fetched again. */
export class BundleWriter implements ExportTarget {
  private readonly files = new Map<string, BundledFile>();
  private readonly there: DirectoryBundle;

  constructor(private readonly directory: string) {
    this.there = new DirectoryBundle(directory);
  }

  async segment(rootHash: string, kind: SegmentKind, index: number, sealed: Uint8Array): Promise<void> {
    await this.file(segmentPath(rootHash, kind, index), sealed);
  }

  async statement(rootHash: string, jws: string): Promise<void> {
    await this.file(statementPath(rootHash), Buffer.from(`${jws}\n`));
  }

  async keyDocument(jws: string): Promise<void> {
    await this.file(KEY_DOCUMENT_PATH, Buffer.from(`${jws}\n`));
  }

  async grant(serial: string, rootHash: string, grant: Omit<GrantAnswer, 'urls'>): Promise<void> {
    await this.file(grantPath(serial, rootHash), Buffer.from(encodeGrantFile(grant)));
  }

  /**
   * Fetches all that is left of a pack and compares it with its hash; of a compacted one, with that of its object. It lies in the bundle at its
   * offsets; what is left out takes no room on a disk.
   *
   * @param locate - Where it is right now; asked again when the URL is refused.
   * @returns Bytes that came over the network.
   * @throws ResourceError `resource.integrity` | `cdn.missing` | `pack.*`.
   */
  async pack(
    source: PackSource,
    folderId: string,
    pack: PackRef,
    locate: () => Promise<PackUrl | undefined>,
    signal: AbortSignal,
  ): Promise<number> {
    const { packId, sizeBytes, sha256 } = pack;
    const path = packPath(folderId, packId);
    if (this.files.has(path)) return 0;
    const before = await this.there.digest(path);
    if (before?.sizeBytes === sizeBytes && before.sha256 === toHex(sha256)) {
      this.files.set(path, { path, ...before });
      return 0;
    }
    const { bytes, compacted } = await fetchObject(source, { folderId, pack }, locate, signal);
    if (!equalBytes(createHash('sha256').update(bytes).digest(), compacted?.sha256 ?? sha256))
      throw new ResourceError('resource.integrity', 'A pack in the CDN is not the one that was published.', {
        details: { packId },
      });
    const target = join(this.directory, path);
    await mkdir(dirname(target), { recursive: true, mode: 0o755 });
    const file = await open(`${target}.partial`, 'w', 0o644);
    try {
      let at = 0;
      for (const { start, end } of compacted?.extents ?? [{ start: 0, end: sizeBytes }])
        at += (await file.write(bytes, at, end - start, start)).bytesWritten;
      await file.truncate(sizeBytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${target}.partial`, target);
    const written = compacted && (await this.there.digest(path));
    this.files.set(path, { path, sizeBytes, sha256: written?.sha256 ?? toHex(sha256) });
    return bytes.length;
  }

  /** Writes the manifest: from now on it is a bundle. */
  async finish(createdAt: number, resources: readonly BundledResource[], serials: readonly string[]): Promise<void> {
    const files = [...this.files.values()].sort((left, right) => (left.path < right.path ? -1 : 1));
    await replaceDurably(join(this.directory, MANIFEST_PATH), encodeManifest({ createdAt, resources, serials, files }));
  }

  /** Bytes of all files. */
  get totalBytes(): number {
    return [...this.files.values()].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  }

  private async file(path: string, bytes: Uint8Array): Promise<void> {
    const target = join(this.directory, path);
    await mkdir(dirname(target), { recursive: true, mode: 0o755 });
    await replaceDurably(target, bytes);
    const { size } = await stat(target);
    this.files.set(path, { path, sizeBytes: size, sha256: createHash('sha256').update(bytes).digest('hex') });
  }
}

/** All bytes of a pack's object. */
async function fetchObject(
  source: PackSource,
  { folderId, pack }: Omit<PackLocation, 'url'>,
  locate: () => Promise<PackUrl | undefined>,
  signal: AbortSignal,
): Promise<{ readonly bytes: Buffer; readonly compacted: CompactedPack | undefined }> {
  let found = await locate();
  let parts: Buffer[] = [];
  let receivedBytes = 0;
  for (let failures = 0; ;) {
    const { end } = rangeInObject(found?.compacted?.extents, { start: 0, end: pack.sizeBytes });
    if (receivedBytes >= end) return { bytes: Buffer.concat(parts), compacted: found?.compacted };
    const range = { start: receivedBytes, end: Math.min(end, receivedBytes + MAX_RANGE_BYTES) };
    try {
      const bytes = await buffer(await source.open({ folderId, pack, url: found?.url }, range, FIRST_BYTE_MS, signal));
      parts.push(bytes);
      receivedBytes += bytes.length;
      if (found?.compacted === undefined) failures = 0;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof ResourceError)) throw error;
      failures++;
      if (error.code === 'pack.not-found' || (error.code === 'pack.truncated' && failures === ATTEMPTS))
        throw new ResourceError('cdn.missing', 'A pack is not in the CDN, or not all of it.', { cause: error });
      if (failures === ATTEMPTS) throw error;
      found = await locate();
      if (found?.compacted !== undefined) [parts, receivedBytes] = [[], 0]; // its object may be another one by now
    }
  }
}
