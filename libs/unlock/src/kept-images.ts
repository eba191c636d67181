import { UnlockError } from './errors.js';
import type { ArchiveName } from './ports/archive-source.js';
import type { EngineImage } from './ports/image-runtime.js';
import type { UnlockRecord } from './ports/unlock-records.js';

/** What is kept across restarts beside the state of the last run. */
export type KeptFacts = Pick<UnlockRecord, 'loaded' | 'lastGood' | 'servicesDue' | 'rollbackDue' | 'refused' | 'retry'>;

/** How long a device waits before it tries again by itself, in milliseconds: the first pause, and the longest; they double. */
export interface RetryPauses {
  readonly first: number;
  readonly longest: number;
}

/** Which images the engine holds, which the services ran from last, which they did not run from, and what of that was begun and did not end. */
export class KeptImages {
  constructor(private current: KeptFacts) {}

  get facts(): KeptFacts {
    return this.current;
  }

  /** What the archive's images are in the engine, where they are what was loaded from it; nothing else proves them. */
  proofOf(archive: ArchiveName): readonly EngineImage[] {
    const { loaded } = this.current;
    return loaded?.identity === archive.identity ? loaded.images : [];
  }

  /** Whether the services run from the images of this archive. */
  isRunning(archive: ArchiveName): boolean {
    const { servicesDue, lastGood } = this.current;
    return !servicesDue && lastGood?.identity === archive.identity;
  }

  /** Whether the services were not healthy with the images of this archive. */
  isRefused(archive: ArchiveName): boolean {
    return archive.identity === this.current.refused;
  }

  /** Whether it is too early for the next attempt to start the services from the images of this archive. */
  isPutOff(archive: ArchiveName, nowMs: number, { longest }: RetryPauses): boolean {
    const { retry } = this.current;
    if (retry?.identity !== archive.identity) return false;
    const pauseMs = retry.atMs - nowMs;
    return pauseMs > 0 && pauseMs <= longest; // a clock that was set back must not make it wait for years
  }

  /** The services could not be started: each further attempt stops those that run, and comes later than the one before. */
  couldNotStart(archive: ArchiveName, nowMs: number, { first, longest }: RetryPauses): void {
    const { retry, rollbackDue } = this.current;
    if (this.isRefused(archive) && !rollbackDue) return; // the good ones run: there is nothing to try
    const attempts = retry?.identity === archive.identity ? retry.attempts + 1 : 1;
    const pauseMs = Math.min(first * 2 ** Math.min(attempts - 1, 30), longest);
    this.change({ retry: { identity: archive.identity, attempts, atMs: nowMs + pauseMs } });
  }

  /** What was refused, or put off, is tried again. */
  forgetFailures(): void {
    this.change({ refused: null, retry: null });
  }

  /** The tags in the engine mean the images of this archive. */
  areLoaded({ identity, version }: ArchiveName, images: readonly EngineImage[]): void {
    this.change({ loaded: { identity, version, images } });
  }

  /** Services are about to be replaced. */
  beginReplacing(): void {
    this.change({ servicesDue: true });
  }

  /** The services are healthy with what was loaded last. */
  areHealthy(): void {
    this.change({ lastGood: this.current.loaded, servicesDue: false, rollbackDue: false, refused: null, retry: null });
  }

  /** The services do not run from the images of this archive. Unhealthy ones are not to be tried again, others may have been stopped by chance. */
  areGivenUp(archive: ArchiveName | null, reason: unknown): void {
    if (isUnhealthy(reason)) this.refuse(archive);
  }

  /** The way back to the last good images is about to begin. */
  beginRollBack(archive: ArchiveName | null, reason: UnlockError): void {
    this.change({ rollbackDue: true });
    this.areGivenUp(archive, reason);
  }

  /** The last good images run again where those of this archive did not: whatever it was, it is with them, unless somebody cancelled. */
  areRolledBack(archive: ArchiveName | null, reason: UnlockError): void {
    this.change({ loaded: this.current.lastGood, servicesDue: false, rollbackDue: false, retry: null });
    if (reason.code !== 'unlock.cancelled') this.refuse(archive);
  }

  private refuse(archive: ArchiveName | null): void {
    this.change({ refused: archive?.identity ?? null });
  }

  private change(facts: Partial<KeptFacts>): void {
    this.current = { ...this.current, ...facts };
  }
}

function isUnhealthy(error: unknown): boolean {
  return error instanceof UnlockError && error.code === 'unlock.services-unhealthy';
}
