import type { Readable } from 'node:stream';

import type { ByteRange } from '@azaion/kernel';

import { pauseBeforeRetry, retryAfterMs, type RetryPolicy, sleep } from '../backoff.js';
import { ResourceError } from '../errors.js';
import { bytesInPack, rangeInObject } from '../pack-extents.js';
import type { PackId, PackRef } from '../pack.js';
import { MAX_RANGE_BYTES, type PackLocation, type PackSource } from '../ports/pack-source.js';
import type { DownloadSlots } from './download-slots.js';
import type { PackUrls } from './pack-urls.js';

/** A request counts as slow when it takes this many times what the ones before it took. */
const SLOW_FACTOR = 3;

/** Times that belong to downloads. */
export interface DownloadPolicy {
  readonly retry: RetryPolicy;
  /** A connection that has brought no byte for this long is cut and replaced. */
  readonly stallMs: number;
  /** A slow request gets a second one beside it no earlier than this. */
  readonly hedgeAfterMs: number;
}

/** Which range of which pack is wanted, and until when. */
export interface WantedRange {
  readonly folderId: string;
  readonly pack: PackRef;
  readonly range: ByteRange;
  readonly urls: PackUrls;
  /** Packs that will be wanted next. */
  readonly upcoming: () => readonly PackId[];
  readonly signal: AbortSignal;
}

/** Reads one range of a pack from one source through everything that a bad link does. */
export class RangeDownload {
  constructor(
    private readonly source: PackSource,
    private readonly slots: DownloadSlots,
    private readonly policy: DownloadPolicy,
  ) {}

  /**
   * Goes on after the last byte that arrived when a connection breaks or stalls, and renews the URL once when it is refused. Of a compacted
   * pack it asks for what is left of the range.
   *
   * @returns Exactly the range, with zeros for what nobody needs any more. Unverified.
   * @throws ResourceError `pack.not-found` | `pack.forbidden`; `pack.truncated` | `pack.unavailable` once every attempt failed; the signal's reason.
   */
  async run(wanted: WantedRange): Promise<Buffer> {
    const { folderId, pack, range, urls, upcoming, signal } = wanted;
    const { remote } = this.source;
    let found = remote ? await urls.of(pack.packId, upcoming) : undefined;
    let renewed = false;
    let stored = rangeInObject(found?.compacted?.extents, range);
    let coming = new ComingBytes(stored.end - stored.start);
    for (let failures = 0; ;) {
      signal.throwIfAborted();
      const start = stored.start + coming.receivedBytes;
      if (start >= stored.end) return bytesInPack(found?.compacted?.extents, range, coming.bytes);
      const rest = { start, end: Math.min(stored.end, start + MAX_RANGE_BYTES) };
      const location = { folderId, pack, url: found?.url };
      try {
        if (remote) await this.overNetwork(location, rest, coming, signal);
        else await this.pull(location, rest, signal, (part) => coming.add(part));
        failures = 0;
      } catch (error) {
        if (!(error instanceof ResourceError)) throw error;
        if (error.code === 'pack.forbidden' && remote && !renewed) {
          renewed = true;
          const before = found;
          found = await urls.of(pack.packId, upcoming, before?.url);
          if (before?.compacted === undefined && found?.compacted === undefined) continue;
          // The object may be another one by now.
          stored = rangeInObject(found?.compacted?.extents, range);
          coming = new ComingBytes(stored.end - stored.start);
          continue;
        }
        if (stored.start + coming.receivedBytes > start) failures = 0; // it brought something
        failures++;
        if (!mayPass(error) || failures >= this.policy.retry.attempts) throw error;
        await pauseBeforeRetry(this.policy.retry, failures, retryAfterMs(error), signal);
      }
    }
  }

  private async overNetwork(
    location: PackLocation,
    rest: ByteRange,
    coming: ComingBytes,
    signal: AbortSignal,
  ): Promise<void> {
    await this.slots.take(signal);
    const begin = performance.now();
    try {
      await this.hedged(location, rest, coming, signal);
      this.slots.succeeded(rest.end - rest.start, performance.now() - begin);
    } catch (error) {
      if (error instanceof ResourceError && error.code === 'pack.unavailable') this.slots.failed();
      throw error;
    } finally {
      this.slots.giveBack();
    }
  }

  /** Pulls the range; when that is slow beside the downloads before it and a slot is free, a second request races it for what is missing. */
  private async hedged(
    location: PackLocation,
    rest: ByteRange,
    coming: ComingBytes,
    signal: AbortSignal,
  ): Promise<void> {
    const ended = new AbortController();
    const either = AbortSignal.any([signal, ended.signal]);
    const first = this.pull(location, rest, either, (part) => {
      if (!ended.signal.aborted) coming.add(part);
    });
    const base = rest.start - coming.receivedBytes;
    let racing = false;
    first.catch(() => {
      if (!racing) ended.abort();
    });
    const second = this.whenSlow(rest, either).then(async () => {
      racing = true;
      const from = coming.receivedBytes;
      const spare = Buffer.allocUnsafeSlow(rest.end - base - from);
      let filledBytes = 0;
      try {
        await this.pull(location, { start: base + from, end: rest.end }, either, (part) => {
          spare.set(part, filledBytes);
          filledBytes += part.length;
        });
      } finally {
        this.slots.giveBack();
      }
      coming.put(from, spare);
    });
    try {
      await Promise.any([first, second]);
    } catch {
      await first; // says why; the other one adds nothing
    } finally {
      ended.abort();
      await Promise.allSettled([first, second]);
    }
  }

  /** Resolves with a slot taken; never resolves while the request is as fast as others were. @throws The signal's reason. */
  private async whenSlow(rest: ByteRange, signal: AbortSignal): Promise<void> {
    const expectedMs = this.slots.expectedMs(rest.end - rest.start);
    if (expectedMs === undefined) return untilAborted(signal);
    const slowAfterMs = Math.max(this.policy.hedgeAfterMs, SLOW_FACTOR * expectedMs);
    do await sleep(slowAfterMs, signal);
    while (!this.slots.takeIfFree());
  }

  /** Reads exactly the range; the stream is destroyed in any case. */
  private async pull(
    location: PackLocation,
    range: ByteRange,
    signal: AbortSignal,
    take: (part: Uint8Array) => void,
  ): Promise<void> {
    const { stallMs } = this.policy;
    const stream = await this.source.open(location, range, stallMs, signal);
    await drain(stream, range.end - range.start, stallMs, signal, take);
  }
}

/** The bytes of a range as they come in; a part that is all of it is taken as it is. */
class ComingBytes {
  receivedBytes = 0;
  private whole: Buffer | undefined;

  constructor(private readonly sizeBytes: number) {}

  add(part: Uint8Array): void {
    this.put(this.receivedBytes, part);
  }

  /** @param at - Where the part belongs; not after what was received. */
  put(at: number, part: Uint8Array): void {
    if (part.length === this.sizeBytes) {
      this.whole = Buffer.from(part.buffer, part.byteOffset, part.byteLength);
    } else {
      this.whole ??= Buffer.allocUnsafeSlow(this.sizeBytes);
      this.whole.set(part, at);
    }
    this.receivedBytes = at + part.length;
  }

  get bytes(): Buffer {
    return this.whole ?? Buffer.alloc(0);
  }
}

/** Also where an object is said to be too short: it may be a copy of it that is, on the way. */
function mayPass({ code }: ResourceError): boolean {
  return code === 'pack.unavailable' || code === 'pack.truncated';
}

async function drain(
  stream: Readable,
  expectedBytes: number,
  stallMs: number,
  signal: AbortSignal,
  take: (part: Uint8Array) => void,
): Promise<void> {
  const stalled = unavailable('The connection brought no byte for too long.');
  const cut = (): void => void stream.destroy(stalled);
  const aborted = (): void => void stream.destroy();
  let timer = setTimeout(cut, stallMs);
  signal.addEventListener('abort', aborted, { once: true });
  if (signal.aborted) aborted();
  let receivedBytes = 0;
  try {
    for await (const part of stream as AsyncIterable<Uint8Array>) {
      receivedBytes += part.length;
      if (receivedBytes > expectedBytes) throw unavailable('The source sent more than was asked for.');
      take(part);
      clearTimeout(timer);
      timer = setTimeout(cut, stallMs);
    }
  } catch (cause) {
    signal.throwIfAborted();
    throw cause instanceof ResourceError ? cause : unavailable('The connection broke.', cause);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', aborted);
    stream.destroy();
  }
  if (receivedBytes < expectedBytes) throw unavailable('The source sent less than was asked for.');
}

function unavailable(message: string, cause?: unknown): ResourceError {
  return new ResourceError('pack.unavailable', message, cause === undefined ? {} : { cause });
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const aborted = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', aborted, { once: true });
    if (signal.aborted) aborted();
  });
}
