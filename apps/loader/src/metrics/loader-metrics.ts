import type { Metrics } from '@azaion/nest-support';
import { isRunning, UNLOCK_STATES, type UnlockImages, type UnlockState } from '@azaion/unlock';

const PHASE_BUCKETS_SECONDS = [0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600];

/** Where bytes of packs came from. */
export type PackOrigin = 'cdn' | 'disk' | 'cache';

/** What a Loader counts beside its requests. Labels hold closed sets only: no names, no addresses. */
export class LoaderMetrics {
  private readonly packBytes;
  private readonly packFailures;
  private readonly uploadedBytes;
  private readonly damagedChunks;
  private readonly grants;
  private readonly unlockPhases;
  private readonly unlockRuns;
  private readonly unlockState;

  constructor(private readonly metrics: Metrics) {
    this.packBytes = metrics.counter({
      name: 'azaion_pack_bytes_total',
      help: 'Sealed bytes read, by where they came from: the CDN, packs shipped with the device (disk), the cache.',
      labels: ['source'],
    });
    this.packFailures = metrics.counter({
      name: 'azaion_pack_failures_total',
      help: 'Reads of packs that failed, by source and code. Some are tried again and succeed.',
      labels: ['source', 'code'],
    });
    this.uploadedBytes = metrics.counter({
      name: 'azaion_pack_uploaded_bytes_total',
      help: 'Sealed bytes that were written to the CDN.',
    });
    this.damagedChunks = metrics.counter({
      name: 'azaion_chunk_failures_total',
      help: 'Chunks that did not open: damaged on the way, on the disk, or where they were published.',
    });
    this.grants = metrics.counter({
      name: 'azaion_grants_total',
      help: 'Grants asked for, by outcome: granted, or the code of the refusal.',
      labels: ['outcome'],
    });
    this.unlockPhases = metrics.histogram(
      { name: 'azaion_unlock_phase_seconds', help: 'Time an unlock spent in each state.', labels: ['phase'] },
      PHASE_BUCKETS_SECONDS,
    );
    this.unlockRuns = metrics.counter({
      name: 'azaion_unlock_runs_total',
      help: 'Unlocks that ended, by outcome: ready, or the code of what ended them.',
      labels: ['outcome'],
    });
    this.unlockState = metrics.gauge({
      name: 'azaion_unlock_state',
      help: '1 for the state that the unlock is in, 0 for the others.',
      labels: ['state'],
    });
  }

  /** Sealed bytes that were read. */
  readPack(source: PackOrigin, bytes: number): void {
    this.packBytes.inc({ source }, bytes);
  }

  /** A read that failed. @param code - Of the closed set of the domain. */
  packFailed(source: PackOrigin, code: string): void {
    this.packFailures.inc({ source, code });
  }

  /** Sealed bytes that the CDN took. */
  uploaded(bytes: number): void {
    this.uploadedBytes.inc(bytes);
  }

  /** A chunk that did not open. */
  chunkFailed(): void {
    this.damagedChunks.inc();
  }

  /** A grant was given or refused. @param outcome - `granted` or a code of the domain. */
  granted(outcome: string): void {
    this.grants.inc({ outcome });
  }

  /** Values that are read at every scrape. */
  watch(state: {
    readonly usage: () => Promise<{ readonly bytes: number; readonly limitBytes: number }>;
    readonly sessions: () => number;
    readonly deviceLoggedIn: () => boolean;
  }): void {
    const { metrics } = this;
    metrics.gauge({ name: 'azaion_cache_bytes', help: 'Bytes of packs kept on this device.' }, async (gauge) =>
      gauge.set((await state.usage()).bytes),
    );
    metrics.gauge({ name: 'azaion_cache_limit_bytes', help: 'Bytes of packs it may keep.' }, async (gauge) =>
      gauge.set((await state.usage()).limitBytes),
    );
    metrics.gauge({ name: 'azaion_sessions', help: 'Sessions of people that are alive.' }, (gauge) =>
      gauge.set(state.sessions()),
    );
    metrics.gauge({ name: 'azaion_device_logged_in', help: '1 while the device itself is logged in.' }, (gauge) =>
      gauge.set(state.deviceLoggedIn() ? 1 : 0),
    );
  }

  /** Follows the unlock from here on. */
  watchUnlock(unlock: Pick<UnlockImages, 'status' | 'subscribe'>, nowMs: () => number): void {
    let state: UnlockState | undefined;
    let sinceMs = nowMs();
    const follow = (): void => {
      const next = unlock.status();
      if (next.state === state) return;
      for (const one of UNLOCK_STATES) this.unlockState.set({ state: one }, one === next.state ? 1 : 0);
      if (state !== undefined && isRunning(state)) {
        this.unlockPhases.observe({ phase: state }, (nowMs() - sinceMs) / 1000);
        if (!isRunning(next.state)) this.unlockRuns.inc({ outcome: next.error ?? next.state });
      }
      state = next.state;
      sinceMs = nowMs();
    };
    follow();
    unlock.subscribe(follow);
  }
}
