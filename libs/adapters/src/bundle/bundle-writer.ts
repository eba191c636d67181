import { createHash } from 'node:crypto';
import { mkdir, open, rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { type SegmentKind } from '@azaion/crypto';
import {
  type BundledFile,
  type BundledResource,
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
  type PackSource,
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
   * Fetches a pack, whole, and compares it with its hash.
   *
   * @param locate - Where it is right now; asked again when the URL is refused.
   * @returns Bytes that came over the network.
   * @throws ResourceError `resource.integrity` | `cdn.missing` | `pack.*`.
   */
  async pack(source: PackSource, locate: () => Promise<PackLocation>, signal: AbortSignal): Promise<number> {
    let location = await locate();
    const { packId, sizeBytes, sha256 } = location.pack;
    const path = packPath(location.folderId, packId);
    const expected = Buffer.from(sha256).toString('hex');
    const known = { path, sizeBytes, sha256: expected };
    if (this.files.has(path)) return 0;
    const before = await this.there.digest(path);
    if (before?.sizeBytes === sizeBytes && before.sha256 === expected) {
      this.files.set(path, known);
      return 0;
    }
    const target = join(this.directory, path);
    await mkdir(dirname(target), { recursive: true, mode: 0o755 });
    const file = await open(`${target}.partial`, 'w', 0o644);
    const digest = createHash('sha256');
    try {
      for (let start = 0; start < sizeBytes; start += MAX_RANGE_BYTES) {
        const range = { start, end: Math.min(sizeBytes, start + MAX_RANGE_BYTES) };
        for (let attempt = 1; ; attempt += 1) {
          try {
            const parts: Buffer[] = [];
            const stream = await source.open(location, range, FIRST_BYTE_MS, signal);
            for await (const part of stream as AsyncIterable<Buffer>) parts.push(part);
            const bytes = Buffer.concat(parts);
            digest.update(bytes);
            await file.writeFile(bytes);
            break;
          } catch (error) {
            signal.throwIfAborted();
            if (!(error instanceof ResourceError) || attempt === ATTEMPTS) throw error;
            if (error.code === 'pack.not-found')
              throw new ResourceError('cdn.missing', 'A pack is not in the CDN.', { cause: error });
            location = await locate();
          }
        }
      }
      await file.sync();
    } finally {
      await file.close();
    }
    if (digest.digest('hex') !== expected)
      throw new ResourceError('resource.integrity', 'A pack in the CDN is not the one that was published.', {
        details: { packId },
      });
    await rename(`${target}.partial`, target);
    this.files.set(path, known);
    return sizeBytes;
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
