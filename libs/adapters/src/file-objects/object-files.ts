import { createHash, randomBytes } from 'node:crypto';
import { access, constants, type FileHandle, link, mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { ResourceError, type SignedPut } from '@azaion/split-resource';

import { WriteBehind } from './write-behind.js';

const KEY = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}(?:\/[A-Za-z0-9][A-Za-z0-9._-]{0,199}){0,7}$/;
const INCOMING = '.incoming';
/** A draft that nobody has written to for so long was left behind by a process that died: no request lives that long. */
const DRAFT_LIFE_MS = 24 * 3_600_000;
/** How often drafts are looked through. */
const SWEEP_EVERY_MS = 3_600_000;

/** Objects as files below one directory. An object appears whole or not at all, and never changes. */
export class ObjectFiles {
  private sweptAtMs = -Infinity;

  constructor(private readonly directory: string) {}

  /**
   * The file of a key. Keys are names joined by `/`, none of which starts with a dot: none leads out of the directory.
   *
   * @throws ResourceError `pack.not-found` for every other key.
   */
  pathOf(key: string): string {
    if (!KEY.test(key)) throw new ResourceError('pack.not-found', 'There is no such object.');
    return join(this.directory, ...key.split('/'));
  }

  /** Size of an object, `undefined` when there is none. @throws ResourceError `cdn.unavailable`. */
  async sizeOf(key: string): Promise<number | undefined> {
    try {
      const { size } = await stat(this.pathOf(key));
      return size;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw unavailable(error);
    }
  }

  /** Opens an object for reading. The caller closes it. @throws ResourceError `pack.not-found` | `cdn.unavailable`. */
  async open(key: string): Promise<FileHandle> {
    try {
      return await open(this.pathOf(key), 'r');
    } catch (error) {
      if (isMissing(error)) throw new ResourceError('pack.not-found', 'There is no such object.', { cause: error });
      throw unavailable(error);
    }
  }

  /**
   * Creates an object from a stream.
   *
   * @param bytes - Untrusted. A piece is not looked at any more when the next one is asked for.
   * @returns Whether it was created: `exists` when there is one, `mismatch` when the bytes are not what was signed. Nothing is left behind then.
   * @throws ResourceError `cdn.unavailable` | `resource.no-space`; the stream's own errors.
   */
  async create(
    key: string,
    content: SignedPut,
    bytes: AsyncIterable<Uint8Array>,
  ): Promise<'created' | 'exists' | 'mismatch'> {
    const path = this.pathOf(key);
    if ((await this.sizeOf(key)) !== undefined) return 'exists';
    const draft = join(this.directory, INCOMING, randomBytes(12).toString('hex'));
    await mkdir(dirname(draft), { recursive: true });
    await mkdir(dirname(path), { recursive: true });
    await this.sweepDrafts();
    try {
      const check = new ContentCheck(content);
      const file = await open(draft, 'wx', 0o600);
      try {
        const writing = new WriteBehind(file, content.sizeBytes);
        for await (const piece of bytes) {
          check.update(piece);
          await writing.write(piece);
        }
        if (!check.matches()) return 'mismatch';
        await writing.end();
        await file.sync();
      } finally {
        await file.close();
      }
      await link(draft, path);
      await syncDirectory(dirname(path));
      return 'created';
    } catch (error) {
      if (hasCode(error, 'EEXIST')) return 'exists';
      if (error instanceof ContentTooLong) return 'mismatch';
      if (hasCode(error, 'ENOSPC'))
        throw new ResourceError('resource.no-space', 'The object store is full.', { cause: error });
      throw error;
    } finally {
      await rm(draft, { force: true });
    }
  }

  /** Removes what processes that died have left of objects that were coming in; several may do it at once. */
  private async sweepDrafts(): Promise<void> {
    if (performance.now() - this.sweptAtMs < SWEEP_EVERY_MS) return;
    this.sweptAtMs = performance.now();
    const drafts = join(this.directory, INCOMING);
    for (const name of await readdir(drafts)) {
      const draft = join(drafts, name);
      const changedMs = await stat(draft).then(
        ({ mtimeMs }) => mtimeMs,
        () => Infinity, // gone meanwhile
      );
      if (Date.now() - changedMs > DRAFT_LIFE_MS) await rm(draft, { force: true });
    }
  }

  /** Deletes an object. @throws ResourceError `cdn.unavailable`. */
  async delete(key: string): Promise<void> {
    try {
      await rm(this.pathOf(key), { force: true });
    } catch (error) {
      throw unavailable(error);
    }
  }

  /** Whether the directory can be used. @throws ResourceError `cdn.unavailable`. */
  async check(): Promise<void> {
    try {
      await mkdir(join(this.directory, INCOMING), { recursive: true });
      await access(join(this.directory, INCOMING), constants.W_OK | constants.X_OK);
    } catch (error) {
      throw unavailable(error);
    }
  }
}

class ContentTooLong extends Error {}

/** Hashes what passes and stops as soon as there is more than was signed. */
class ContentCheck {
  private readonly sha256 = createHash('sha256');
  private seenBytes = 0;

  constructor(private readonly expected: SignedPut) {}

  update(piece: Uint8Array): void {
    this.seenBytes += piece.length;
    if (this.seenBytes > this.expected.sizeBytes) throw new ContentTooLong('more bytes than were signed');
    this.sha256.update(piece);
  }

  matches(): boolean {
    return this.seenBytes === this.expected.sizeBytes && this.sha256.digest('hex') === this.expected.sha256;
  }
}

/** A new name survives a power cut once its directory has been flushed. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function hasCode(error: unknown, code: string): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code;
}

function isMissing(error: unknown): boolean {
  return (
    hasCode(error, 'ENOENT') ||
    hasCode(error, 'ENOTDIR') ||
    (error instanceof ResourceError && error.code === 'pack.not-found')
  );
}

function unavailable(cause: unknown): ResourceError {
  return new ResourceError('cdn.unavailable', 'The object store cannot be used right now.', { cause });
}
