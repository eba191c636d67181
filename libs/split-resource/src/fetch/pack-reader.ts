import type { ByteRange } from '@azaion/kernel';

import { DEFAULT_RETRY } from '../backoff.js';
import { ResourceError, type ResourceErrorCode } from '../errors.js';
import type { PackRef } from '../pack.js';
import type { PackSource } from '../ports/pack-source.js';
import type { PackStore } from '../ports/pack-store.js';
import { DownloadSlots } from './download-slots.js';
import { MAX_GAP_BYTES } from './fetch-plan.js';
import { type DownloadPolicy, RangeDownload, type WantedRange } from './range-download.js';
import { ReadAheadBudget } from './read-ahead-budget.js';

/** Times and bounds that belong to reading packs. */
export interface PackReadPolicy extends DownloadPolicy {
  /** Bytes that all reads together may hold ahead, see {@link ReadAheadBudget}. Default 24 MiB. */
  readonly readAheadBytes?: number;
}

/** What bad links of the field need. */
const DEFAULT_POLICY: PackReadPolicy = { retry: DEFAULT_RETRY, stallMs: 10_000, hedgeAfterMs: 1_000 };

/** One read of a pack range. */
export interface PackRead extends Omit<WantedRange, 'range'> {
  /** Called once before the first byte is fetched over a network. */
  readonly beforeDownload: () => Promise<void>;
  /** Ask the sources in the opposite order: the one that comes first has just given bad bytes. */
  readonly lastSourceFirst: boolean;
}

/** The bytes of a range and where they came from. */
export interface PackBytes {
  /** Exactly the range. Unverified. */
  readonly bytes: Buffer;
  readonly downloadedBytes: number;
  /** Settles when everything that was downloaded is in the store, which reads the bytes until then. Rejects with `resource.no-space`. */
  readonly stored: Promise<void>;
  /** Whether nobody else reads the bytes: nothing of them was downloaded. */
  readonly movable: boolean;
}

interface Download {
  readonly range: ByteRange;
  readonly done: Promise<void>;
}

/** Rounds of waiting for others after which a reader fetches for itself: a store under pressure may drop what another has just brought. */
const MAX_SHARED_ROUNDS = 4;

/**
 * Reads ranges of packs: what the store holds from there, the rest from the sources, keeping it. Readers of one pack share downloads:
 * who comes second waits and finds the bytes in the store.
 */
export class PackReader {
  /** Shared by all reads. */
  readonly readAhead: ReadAheadBudget;
  private readonly downloads = new Map<string, Set<Download>>();
  private readonly slots = new DownloadSlots();

  constructor(
    /** Where what it fetches is kept. */
    readonly store: PackStore,
    private readonly sources: readonly PackSource[],
    private readonly policy: PackReadPolicy = DEFAULT_POLICY,
  ) {
    this.readAhead = new ReadAheadBudget(policy.readAheadBytes);
  }

  /** Whether a range can be read on this machine, without any network. A whole pack is taken for what a local source has of it. */
  async holds(folderId: string, pack: PackRef, range: ByteRange): Promise<boolean> {
    const [gap] = await this.store.missing(folderId, pack, range);
    return gap === undefined || this.isDeployed(folderId, pack, gap.start);
  }

  /** Whether a local source has a pack, so that nothing of it takes room in the store. @param at - The byte that is tried. */
  async isDeployed(folderId: string, pack: PackRef, at = 0): Promise<boolean> {
    for (const source of this.sources) {
      if (source.remote) continue;
      try {
        const one = { start: at, end: at + 1 };
        (await source.open({ folderId, pack, url: undefined }, one, this.policy.stallMs)).destroy();
        return true;
      } catch (error) {
        if (!(error instanceof ResourceError)) throw error;
      }
    }
    return false;
  }

  /** @throws ResourceError `cdn.missing` | `cdn.unavailable` | `resource.no-space`, and the signal's reason. */
  async read(range: ByteRange, read: PackRead): Promise<PackBytes> {
    const key = `${read.folderId}/${read.pack.packId}`;
    for (let round = 0; ; round++) {
      read.signal.throwIfAborted();
      const gaps = mergeNear(await this.store.missing(read.folderId, read.pack, range));
      if (gaps.length === 0) {
        const bytes = await this.store.read(read.folderId, read.pack, range);
        if (bytes !== undefined) return { bytes, downloadedBytes: 0, stored: Promise.resolve(), movable: true };
        continue; // evicted or discarded in between
      }
      const others = [...(this.downloads.get(key) ?? [])].filter((other) =>
        gaps.some((gap) => overlap(gap, other.range)),
      );
      if (others.length === 0 || round >= MAX_SHARED_ROUNDS) return this.fill(key, range, gaps, read);
      await unlessAborted(Promise.all(others.map(({ done }) => done)), read.signal);
    }
  }

  private async fill(key: string, range: ByteRange, gaps: readonly ByteRange[], read: PackRead): Promise<PackBytes> {
    let settle = (): void => undefined;
    const done = new Promise<void>((resolve) => (settle = resolve));
    const mine = gaps.map((gap) => ({ range: gap, done }));
    const registered = this.downloads.get(key) ?? new Set<Download>();
    this.downloads.set(key, registered);
    for (const download of mine) registered.add(download);
    const finish = (): void => {
      for (const download of mine) registered.delete(download);
      if (registered.size === 0 && this.downloads.get(key) === registered) this.downloads.delete(key);
      settle();
    };
    try {
      const filled = await this.fillGaps(range, gaps, read);
      void filled.stored.then(finish, finish);
      return filled;
    } catch (error) {
      finish();
      throw error;
    }
  }

  private async fillGaps(range: ByteRange, gaps: readonly ByteRange[], read: PackRead): Promise<PackBytes> {
    const { folderId, pack } = read;
    const parts: Buffer[] = [];
    const writes: Promise<void>[] = [];
    let downloadedBytes = 0;
    const fetchPart = async (part: ByteRange): Promise<void> => {
      const { bytes, remote } = await this.fetch(part, read);
      parts.push(bytes);
      if (!remote) return;
      downloadedBytes += bytes.length;
      const write = this.store.write(folderId, pack, part.start, bytes);
      write.catch(() => undefined); // reported by `stored`, which may be a long way off
      writes.push(write);
    };
    let at = range.start;
    for (const gap of [...gaps, { start: range.end, end: range.end }]) {
      if (gap.start > at) {
        const present = { start: at, end: gap.start };
        const kept = await this.store.read(folderId, pack, present);
        if (kept === undefined) await fetchPart(present);
        else parts.push(kept);
      }
      if (gap.end > gap.start) await fetchPart(gap);
      at = gap.end;
    }
    const stored = Promise.all(writes).then(() => undefined);
    stored.catch(() => undefined); // the reader awaits it before it goes on to the next range
    const bytes = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
    return { bytes, downloadedBytes, stored, movable: downloadedBytes === 0 };
  }

  /** Reads from the first source that can. @returns The bytes, and whether they came over a network. */
  private async fetch(range: ByteRange, read: PackRead): Promise<{ readonly bytes: Buffer; readonly remote: boolean }> {
    const sources = read.lastSourceFirst ? [...this.sources].reverse() : this.sources;
    let failure: ResourceError | undefined;
    for (const source of sources) {
      if (source.remote) await read.beforeDownload();
      try {
        const download = new RangeDownload(source, this.slots, this.policy);
        return { bytes: await download.run({ ...read, range }), remote: source.remote };
      } catch (error) {
        if (!(error instanceof ResourceError) || !isSourceFailure(error.code)) throw error;
        // What may work later says more than what is not there, and the CDN more than a disk that may never have had it.
        if (failure === undefined || error.code === 'pack.unavailable') failure = error;
        else if (source.remote && failure.code !== 'pack.unavailable') failure = error;
      }
    }
    if (failure?.code === 'pack.unavailable')
      throw new ResourceError('cdn.unavailable', 'The content cannot be reached at present: try again later.', {
        cause: failure,
      });
    throw new ResourceError('cdn.missing', 'A part of the content is missing from the CDN: tell your administrator.', {
      cause: failure,
      details: { packId: read.pack.packId },
    });
  }
}

function isSourceFailure(code: ResourceErrorCode): boolean {
  return (
    code === 'pack.not-found' || code === 'pack.truncated' || code === 'pack.forbidden' || code === 'pack.unavailable'
  );
}

function overlap(left: ByteRange, right: ByteRange): boolean {
  return left.start < right.end && right.start < left.end;
}

function mergeNear(gaps: readonly ByteRange[]): readonly ByteRange[] {
  const merged: ByteRange[] = [];
  for (const gap of gaps) {
    const previous = merged.at(-1);
    if (previous && gap.start - previous.end <= MAX_GAP_BYTES)
      merged[merged.length - 1] = { start: previous.start, end: gap.end };
    else merged.push(gap);
  }
  return merged;
}

async function unlessAborted(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
  let aborted = (): void => undefined;
  const abortion = new Promise<never>((_, reject) => {
    aborted = () => reject(signal.reason as Error);
    signal.addEventListener('abort', aborted, { once: true });
  });
  try {
    await Promise.race([work, abortion]);
  } finally {
    signal.removeEventListener('abort', aborted);
  }
}
