import { setTimeout as timer } from 'node:timers/promises';

import { type Clock, type ResourceName, resourcePath } from '@azaion/kernel';
import { ResourceError, type StatementTrust } from '@azaion/split-resource';

import type { TokenBearer } from '../session/caller-apis.js';
import type { OpenForCaller } from '../session/open-for-caller.js';
import type { TransferPolicy } from './transfer-policy.js';

/** What is fetched between two looks at window, limit and time. */
const SLICE_BYTES = 4 * 1024 * 1024;
const HOUR_MS = 3_600_000;
/** Longest pause before a version that does not stay is fetched again; what stayed for so long is lost for the first time. */
const LONGEST_PAUSE_MS = 24 * HOUR_MS;
/** Resources whose progress is remembered. */
const MAX_REMEMBERED = 1000;

/** What {@link Prefetch} works with. */
export interface PrefetchDependencies {
  readonly open: Pick<OpenForCaller, 'completeVersions' | 'open'>;
  readonly trust: Pick<StatementTrust, 'accept'>;
  readonly policy: TransferPolicy;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  /** The device as a caller of its own. */
  readonly bearer: () => Promise<TokenBearer>;
  /** The machine's own time, for the transfer window. Default: now. */
  readonly now?: () => Date;
  /** Lets time pass; rejects with the signal's reason. Default: a timer. */
  readonly rest?: (ms: number, signal: AbortSignal) => Promise<unknown>;
}

/** A version that is to be brought onto the device. */
export interface PrefetchRequest {
  readonly resource: ResourceName;
  readonly version: number;
  /** Whether it is the newest: once it is complete, nothing older is served as such any more. */
  readonly latest: boolean;
  /** When something else is due, on the clock: what is not there by then is fetched by a later run. */
  readonly dueMs: number;
}

/** How far a version has come. */
interface Progress {
  readonly version: number;
  /** Plaintext that was opened from the start on: a later run opens none of it again. */
  readonly openedBytes: number;
  /** When all of it had been, on the clock. */
  readonly endedMs?: number;
  /** How often it did not stay. */
  readonly losses: number;
}

/** F2 ahead of time: brings versions onto the device, so that they open without any network, and opens every chunk on the way. */
export class Prefetch {
  private readonly progress = new Map<string, Progress>();
  private readonly now: () => Date;
  private readonly rest: (ms: number, signal: AbortSignal) => Promise<unknown>;

  constructor(private readonly using: PrefetchDependencies) {
    this.now = using.now ?? (() => new Date());
    this.rest = using.rest ?? ((ms, signal) => timer(ms, undefined, { signal }));
  }

  /**
   * Goes on where an earlier run stopped. What was complete and is not any more, because packs were evicted, damaged or deleted, is fetched
   * again: at once the first time, then after pauses that grow, so that what does not fit is not fetched over and over.
   *
   * @returns Whether it is complete; if not, the transfer window has closed or something else is due.
   * @throws ResourceError, `resource.no-space` for what did not stay and is not to be fetched again yet; CryptoError | IdentityError; the signal's reason.
   */
  async run(request: PrefetchRequest, signal: AbortSignal): Promise<boolean> {
    const { open, trust, clock, bearer } = this.using;
    const { resource, version, latest, dueMs } = request;
    if ((await open.completeVersions(resource)).includes(version)) return true;
    let progress = this.begin(request);
    if (!(await this.mayGoOn(dueMs, signal))) return false;
    // A lease of before would hide that this version may not be had any more.
    const opening = { version, movesMark: false, lease: 'never' } as const;
    const opened = await open.open(resource, opening, await bearer(), signal);
    const { totalBytes, folderId, resourceId } = opened.statement;
    // What could not stay as a whole would only make others go.
    await opened.assertRoom();
    while (progress.openedBytes < totalBytes) {
      if (!(await this.mayGoOn(dueMs, signal))) return false;
      const end = Math.min(totalBytes, progress.openedBytes + SLICE_BYTES);
      await this.fetch(opened, { start: progress.openedBytes, end }, signal);
      progress = this.remember(resource, { ...progress, openedBytes: end });
    }
    this.remember(resource, { ...progress, endedMs: clock.monotonicMs() });
    if (latest) await trust.accept(folderId, resourceId, version);
    return true;
  }

  private async fetch(
    opened: Awaited<ReturnType<OpenForCaller['open']>>,
    slice: { readonly start: number; readonly end: number },
    signal: AbortSignal,
  ): Promise<void> {
    const { policy, clock } = this.using;
    const begunMs = clock.monotonicMs();
    let downloadedBytes = 0;
    try {
      const reading = opened
        .read(slice, (progress) => (downloadedBytes = progress.downloadedBytes), signal)
        [Symbol.asyncIterator]();
      // Opened, so that damage is noticed now and not when it is needed.
      while ((await reading.next()).done !== true);
    } finally {
      policy.moved(downloadedBytes, begunMs);
    }
  }

  /** Rests as the limit wants, but not beyond what is due; says whether a slice may be fetched now. */
  private async mayGoOn(dueMs: number, signal: AbortSignal): Promise<boolean> {
    const { policy, clock } = this.using;
    for (;;) {
      signal.throwIfAborted();
      const nowMs = clock.monotonicMs();
      if (nowMs >= dueMs || !policy.isOpen(this.now())) return false;
      const restMs = policy.restMs(nowMs);
      if (restMs === 0) return true;
      await this.rest(Math.ceil(Math.min(restMs, dueMs - nowMs)), signal);
    }
  }

  private begin({ resource, version }: PrefetchRequest): Progress {
    const known = this.progress.get(resourcePath(resource));
    if (known?.version !== version) return { version, openedBytes: 0, losses: 0 };
    if (known.endedMs === undefined) return known;
    const endedForMs = this.using.clock.monotonicMs() - known.endedMs;
    const losses = endedForMs >= LONGEST_PAUSE_MS ? 0 : known.losses;
    if (losses > 0 && endedForMs < Math.min(LONGEST_PAUSE_MS, HOUR_MS * 2 ** (losses - 1)))
      throw new ResourceError(
        'resource.no-space',
        'It was fetched and did not stay: this device is to hold more than LOADER_CACHE_LIMIT_BYTES or its disk allows.',
      );
    return this.remember(resource, { version, openedBytes: 0, losses: losses + 1 });
  }

  private remember(resource: ResourceName, progress: Progress): Progress {
    const path = resourcePath(resource);
    this.progress.delete(path);
    this.progress.set(path, progress);
    const [oldest] = this.progress.keys();
    if (this.progress.size > MAX_REMEMBERED && oldest !== undefined) this.progress.delete(oldest);
    return progress;
  }
}
