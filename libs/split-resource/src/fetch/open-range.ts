import { CryptoError } from '@azaion/crypto';
import { type ByteRange, releaseBytes } from '@azaion/kernel';

import { type ChunkOpener, CHUNKS_AHEAD, type OpenedChunks } from '../chunk-work.js';
import { ResourceError } from '../errors.js';
import type { PackId, PackRef } from '../pack.js';
import { MAX_PACK_URLS } from '../ports/grant-api.js';
import type { PlaintextFile } from '../ports/plaintext-file.js';
import { RECORDS_PER_SEGMENT } from '../recipe/limits.js';
import type { PackSegment } from '../recipe/pack-segment.js';
import type { Recipe } from '../recipe/recipe.js';
import { type PlannedRange, planRanges } from './fetch-plan.js';
import { OpeningRun } from './opening-run.js';
import type { PackBytes, PackReader } from './pack-reader.js';
import type { PackUrls } from './pack-urls.js';

/** Ranges being read, or read and not yet handed out, as long as the budget of all reads allows. */
const READ_AHEAD_RANGES = 8;

/**
 * How long the first range has disk, processor and memory for itself. What lies on the device is there by then, and is handed out before others are
 * begun; a request over a network only has to be on its way.
 */
const HEAD_START_MS = 10;

/** Running totals of one read. */
export interface FetchProgress {
  /** Plaintext bytes handed out. */
  readonly openedBytes: number;
  /** Sealed bytes that came over the network. */
  readonly downloadedBytes: number;
  /** Sealed bytes that were there already. */
  readonly cachedBytes: number;
}

/** What one read of a resource works with. */
export interface OpenRangeContext {
  readonly recipe: Recipe;
  readonly reader: PackReader;
  readonly opener: ChunkOpener;
  readonly urls: PackUrls;
  /** Tells that a chunk, by its index in the version, did not open twice, or that its pack is gone or ends before it. */
  readonly reportBadChunk: (chunk: number) => Promise<void>;
}

interface LocatedPack {
  readonly pack: PackRef;
  /** Those behind it, for whoever has to ask for URLs. */
  readonly upcoming: () => readonly PackId[];
}

interface LoadedRange extends LocatedPack {
  readonly planned: PlannedRange;
  readonly loaded: PackBytes;
  /** Openers that work elsewhere have begun. */
  readonly opening: OpeningRun;
}

interface ComingRange {
  readonly sizeBytes: number;
  readonly loading: Promise<LoadedRange>;
}

/** One read in progress: plans, reads ahead within bounds, opens, and hands out plaintext in order. */
export class OpenRange {
  private readonly stop = new AbortController();
  private readonly signal: AbortSignal;
  private readonly packSegments = new Map<number, Promise<PackSegment>>();
  private readonly reservations = new Map<number, Promise<void>>();
  private readonly gonePacks = new Set<PackId>();
  private openedBytes = 0;
  private downloadedBytes = 0;
  private cachedBytes = 0;

  constructor(
    private readonly context: OpenRangeContext,
    private readonly wanted: ByteRange,
    private readonly onProgress: ((progress: FetchProgress) => void) | undefined,
    signals: readonly AbortSignal[],
    /** Takes the plaintext instead of who iterates; then the whole resource is read. */
    private readonly file?: PlaintextFile,
  ) {
    this.signal = AbortSignal.any([this.stop.signal, ...signals]);
  }

  /** Reads everything into the file. When it returns or throws, nobody writes into the file any more. */
  async write(): Promise<void> {
    try {
      const reading = this.plaintext(); // what it hands out lies in the file already
      for (let next = await reading.next(); next.done !== true;) next = await reading.next();
    } finally {
      await this.file?.unused();
    }
  }

  /** The plaintext, in order. Ending the iteration ends all work behind it. */
  async *plaintext(): AsyncGenerator<Buffer, void> {
    const plan = planRanges(this.context.recipe, this.wanted);
    const coming: ComingRange[] = [];
    const share = this.context.reader.readAhead.join();
    try {
      // Where there is one table of packs it is needed: it comes while the first chunk segment does.
      if (this.context.recipe.root.packSegmentHashes.length === 1) this.packAt(0).catch(() => undefined);
      let ahead = await plan.next();
      let isFirst = true;
      for (;;) {
        while (!ahead.done && coming.length < READ_AHEAD_RANGES) {
          const { range, plaintextBytes } = ahead.value;
          const sizeBytes = Math.max(range.end - range.start, plaintextBytes);
          if (!share.take(sizeBytes)) break;
          const loading = this.load(ahead.value);
          loading.catch(() => undefined); // reported when its turn comes
          coming.push({ sizeBytes, loading });
          ahead = await plan.next();
          if (!isFirst) continue;
          isFirst = false;
          if (await settledWithin(loading, HEAD_START_MS)) break;
        }
        const current = coming[0];
        if (current === undefined) return;
        this.signal.throwIfAborted();
        const range = await current.loading;
        this.cachedBytes += range.planned.range.end - range.planned.range.start - range.loaded.downloadedBytes;
        yield* this.open(range, coming[1]?.loading);
        coming.shift();
        share.giveBack(current.sizeBytes);
      }
    } finally {
      share.leave();
      this.stop.abort(new ResourceError('cdn.unavailable', 'The read was ended.'));
      await plan.return();
    }
  }

  private async load(planned: PlannedRange, lastSourceFirst = false): Promise<LoadedRange> {
    const { pack, upcoming } = await this.packAt(planned.packIndex);
    if (planned.range.end > pack.sizeBytes)
      throw new ResourceError('recipe.invalid', 'The recipe names a chunk outside of its pack.');
    const loaded = await this.readPack(planned, pack, upcoming, planned.range, lastSourceFirst);
    this.signal.throwIfAborted(); // whose file may be closed by now
    return { planned, pack, upcoming, loaded, opening: this.begin(planned, loaded) };
  }

  private begin(planned: PlannedRange, loaded: PackBytes): OpeningRun {
    const { segment, from, to, range, plaintextStart } = planned;
    const chunks = [];
    for (let index = from; index < to; index++)
      chunks.push({
        at: segment.offset(index) - range.start,
        sealedBytes: segment.sealedBytes(index),
        secrets: segment.secrets(index),
      });
    const into = this.file && { file: this.file, position: plaintextStart };
    const run = { bytes: loaded.bytes, movable: loaded.movable, chunks, into };
    return new OpeningRun(this.context.opener.open(run));
  }

  private async readPack(
    planned: PlannedRange,
    pack: PackRef,
    upcoming: () => readonly PackId[],
    range: ByteRange,
    lastSourceFirst: boolean,
  ): Promise<PackBytes> {
    const reading = this.context.reader.read(range, {
      folderId: this.context.recipe.place.folderId,
      pack,
      urls: this.context.urls,
      upcoming,
      signal: this.signal,
      beforeDownload: () => this.reserve(planned),
      lastSourceFirst,
    });
    const loaded = await reading.catch(async (error: unknown) => {
      if (isGone(error)) await this.reportGone(planned, pack);
      throw error;
    });
    this.downloadedBytes += loaded.downloadedBytes;
    return loaded;
  }

  /** By the last chunk: an object that is cut short ends before that. Ranges of one pack are read side by side: it is told once. */
  private async reportGone(planned: PlannedRange, { packId }: PackRef): Promise<void> {
    if (this.gonePacks.has(packId)) return;
    this.gonePacks.add(packId);
    const chunk = planned.segmentIndex * RECORDS_PER_SEGMENT + lastInPack(planned);
    await this.context.reportBadChunk(chunk).catch(() => undefined); // that it is gone is what the reader has to know
  }

  /** @param following - The range behind it, which is begun before this one is over: whoever opens would have nothing to do in between. */
  private async *open(range: LoadedRange, following: Promise<LoadedRange> | undefined): AsyncGenerator<Buffer, void> {
    const { planned } = range;
    let { opening, loaded } = range;
    let { plaintextStart } = planned;
    let badChunks = 0;
    for (let index = planned.from; index < planned.to;) {
      let { plaintext, plaintextBytes, count }: OpenedChunks = {
        plaintext: Buffer.alloc(0),
        plaintextBytes: 0,
        count: 0,
      };
      try {
        ({ plaintext, plaintextBytes, count } = await opening.next());
      } catch (error) {
        if (!isBadChunk(error)) throw error;
        await loaded.stored;
        plaintext = await this.openAnew(range, index);
        plaintextBytes = plaintext.length;
        count = 1;
        await this.file?.write(plaintext, plaintextStart);
        const rest = restOf(planned, index + 1, plaintextStart + plaintextBytes);
        // Where one chunk was bad it may be the only one; where two were, all may be.
        if (rest.from < rest.to) ({ opening, loaded } = await this.load(rest, ++badChunks > 1));
      }
      index += count;
      if (planned.to - index < CHUNKS_AHEAD)
        following?.then(
          (next) => this.signal.aborted || next.opening.begin(), // a file may be closed by then
          () => undefined, // reported in its turn
        );
      const cutStart = Math.max(0, this.wanted.start - plaintextStart);
      const cutEnd = Math.min(plaintextBytes, this.wanted.end - plaintextStart);
      plaintextStart += plaintextBytes;
      this.signal.throwIfAborted();
      this.openedBytes += cutEnd - cutStart;
      this.onProgress?.({
        openedBytes: this.openedBytes,
        downloadedBytes: this.downloadedBytes,
        cachedBytes: this.cachedBytes,
      });
      yield plaintext.subarray(cutStart, cutEnd);
    }
    await loaded.stored;
    if (loaded.bytes.length > 0) releaseBytes(loaded.bytes); // an opener may have taken them
  }

  /** A chunk that fails its check is fetched once more, by itself. */
  private async openAnew({ planned, pack, upcoming }: LoadedRange, index: number): Promise<Buffer> {
    const { segment } = planned;
    const { folderId } = this.context.recipe.place;
    const start = segment.offset(index);
    const range = { start, end: start + segment.sealedBytes(index) };
    await this.context.reader.store.discard(folderId, pack, range);
    const again = await this.readPack(planned, pack, upcoming, range, true);
    const chunks = [{ at: 0, sealedBytes: range.end - range.start, secrets: segment.secrets(index) }];
    const opening = new OpeningRun(this.context.opener.open({ bytes: again.bytes, movable: again.movable, chunks }));
    try {
      return (await opening.next()).plaintext;
    } catch (cause) {
      if (!isBadChunk(cause)) throw cause;
      await again.stored;
      await this.context.reader.store.discard(folderId, pack, range);
      const chunk = planned.segmentIndex * RECORDS_PER_SEGMENT + index;
      await this.context.reportBadChunk(chunk).catch(() => undefined); // the damage is what the reader has to know
      throw new ResourceError('resource.integrity', 'The content was changed or damaged after it was published.', {
        cause,
        details: { packId: pack.packId, offset: start },
      });
    }
  }

  /** Room for what is missing of a whole chunk segment is made before its first byte is fetched, not when the disk is full. */
  private reserve({ segmentIndex, segment }: PlannedRange): Promise<void> {
    let reservation = this.reservations.get(segmentIndex);
    if (reservation === undefined) {
      reservation = this.missingBytes(segmentIndex, segment.count).then((bytes) =>
        this.context.reader.store.reserve(bytes),
      );
      this.reservations.set(segmentIndex, reservation);
    }
    return reservation;
  }

  private async missingBytes(segmentIndex: number, count: number): Promise<number> {
    const { recipe, reader } = this.context;
    if (count === 0) return 0;
    let start = 0;
    for (let index = 0; index < segmentIndex; index++) start += recipe.root.chunkSegmentBytes[index] ?? 0;
    const end = start + (recipe.root.chunkSegmentBytes[segmentIndex] ?? 0);
    const covered = { start: Math.max(start, this.wanted.start), end: Math.min(end, this.wanted.end) };
    let missing = 0;
    for await (const planned of planRanges(recipe, covered)) {
      const { pack } = await this.packAt(planned.packIndex);
      for (const gap of await reader.store.missing(recipe.place.folderId, pack, planned.range))
        missing += gap.end - gap.start;
    }
    return missing;
  }

  private async packAt(packIndex: number): Promise<LocatedPack> {
    const segmentIndex = Math.floor(packIndex / RECORDS_PER_SEGMENT);
    let reading = this.packSegments.get(segmentIndex);
    if (reading === undefined) {
      reading = this.context.recipe.packSegment(segmentIndex);
      this.packSegments.set(segmentIndex, reading);
    }
    const segment = await reading;
    const index = packIndex % RECORDS_PER_SEGMENT;
    const upcoming = (): readonly PackId[] => {
      const packIds: PackId[] = [];
      for (let other = index + 1; other < Math.min(index + MAX_PACK_URLS, segment.count); other++)
        packIds.push(segment.pack(other).packId);
      return packIds;
    };
    return { pack: segment.pack(index), upcoming };
  }
}

function isBadChunk(error: unknown): boolean {
  return error instanceof CryptoError && error.code === 'chunk.invalid';
}

/** Whether the CDN itself says that it does not have a pack, or not all of it. A refused URL says nothing of the object. */
function isGone(error: unknown): boolean {
  return (
    error instanceof ResourceError &&
    error.code === 'cdn.missing' &&
    error.cause instanceof ResourceError &&
    (error.cause.code === 'pack.not-found' || error.cause.code === 'pack.truncated')
  );
}

/** The chunk that ends last in the pack, which need not be the last of the content. */
function lastInPack({ segment, from, to }: PlannedRange): number {
  const end = (index: number): number => segment.offset(index) + segment.sealedBytes(index);
  let last = from;
  for (let index = from + 1; index < to; index++) if (end(index) > end(last)) last = index;
  return last;
}

/** What is left of a planned range once the chunks before `from` have been handed out. */
function restOf(planned: PlannedRange, from: number, plaintextStart: number): PlannedRange {
  const { segment, range, to } = planned;
  return {
    ...planned,
    from,
    range: { start: from < to ? segment.offset(from) : range.end, end: range.end },
    plaintextStart,
    plaintextBytes: planned.plaintextStart + planned.plaintextBytes - plaintextStart,
  };
}

/** Whether the work is over, however it ended, before so many milliseconds are. */
async function settledWithin(work: Promise<unknown>, milliseconds: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => (timer = setTimeout(resolve, milliseconds, false)));
  const settled = await Promise.race([late, Promise.allSettled([work]).then(() => true)]);
  clearTimeout(timer);
  return settled;
}
