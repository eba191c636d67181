import { readFile, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';

import { type KeptRecipe, SegmentStore } from '@azaion/split-resource';

import { ignoreMissing, systemCode } from './file-errors.js';
import { namesIn } from './read-if-there.js';
import { replaceDurably } from './replace-durably.js';

const KEY_PART = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;
const MAX_KEY_PARTS = 4;
const ROOT_HASH = /^[0-9a-f]{64}$/;
const ROOT_KEY = /^([0-9a-f]{64})\/root\/0$/;
/** Reads of a root move its time of use on the disk at most this often. */
const TOUCH_INTERVAL_MS = 3_600_000;

/** Keeps recipe parts as files. An entry is replaced as a whole: after a crash it is the old one or the new one. */
export class DirectorySegmentStore extends SegmentStore {
  private readonly touchedAtMs = new Map<string, number>();

  constructor(private readonly directory: string) {
    super();
  }

  override async read(key: string): Promise<Uint8Array | undefined> {
    try {
      const bytes = await readFile(this.pathOf(key));
      const [, rootHash] = ROOT_KEY.exec(key) ?? [];
      if (rootHash !== undefined) await this.touch(rootHash);
      return bytes;
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  override async write(key: string, bytes: Uint8Array): Promise<void> {
    await replaceDurably(this.pathOf(key), bytes);
  }

  override async recipes(): Promise<readonly KeptRecipe[]> {
    const found: KeptRecipe[] = [];
    for (const rootHash of (await namesIn(this.directory)).filter((name) => ROOT_HASH.test(name))) {
      const recipe = await this.recipe(rootHash);
      if (recipe !== undefined) found.push(recipe);
    }
    return found;
  }

  override async drop(rootHash: string): Promise<void> {
    if (!ROOT_HASH.test(rootHash)) throw new RangeError('not a hash of a root');
    this.touchedAtMs.delete(rootHash);
    await rm(join(this.directory, rootHash), { recursive: true, force: true });
  }

  /** `undefined` when it goes away meanwhile. */
  private async recipe(rootHash: string): Promise<KeptRecipe | undefined> {
    const directory = join(this.directory, rootHash);
    try {
      let usedAtMs = (await stat(directory)).mtimeMs;
      let sizeBytes = 0;
      for (const kind of await namesIn(directory))
        for (const name of await namesIn(join(directory, kind))) {
          const { size, mtimeMs } = await stat(join(directory, kind, name));
          sizeBytes += size;
          usedAtMs = Math.max(usedAtMs, mtimeMs);
        }
      return { rootHash, sizeBytes, usedAtMs };
    } catch (error) {
      ignoreMissing(error);
      return undefined;
    }
  }

  private async touch(rootHash: string): Promise<void> {
    const nowMs = Date.now();
    if (nowMs - (this.touchedAtMs.get(rootHash) ?? -Infinity) < TOUCH_INTERVAL_MS) return;
    this.touchedAtMs.set(rootHash, nowMs);
    // A disk that cannot be written is no reason to refuse a read.
    await utimes(join(this.directory, rootHash), nowMs / 1000, nowMs / 1000).catch(() => undefined);
  }

  private pathOf(key: string): string {
    const parts = key.split('/');
    if (parts.length > MAX_KEY_PARTS || !parts.every((part) => KEY_PART.test(part)))
      throw new RangeError('not a key of the segment store');
    return join(this.directory, ...parts);
  }
}
