import { setImmediate, setTimeout as pause } from 'node:timers/promises';

import type { VerifyVersions } from './verify-versions.js';

/** How long the verifier rests when there is nothing to do. */
const IDLE_MS = 2_000;
/** And when the object store does not answer. */
const TROUBLE_MS = 30_000;
/** Work at a stretch after which it rests for as long: at most half of one core is the verifier's. */
const STRETCH_MS = 20;

/** Runs the verifier in the background of a replica, one version at a time, giving way to requests after every chunk. */
export class VerifierLoop {
  private readonly stopping = new AbortController();
  private running: Promise<void> = Promise.resolve();
  private stretchStartedMs = 0;

  /** @param onFailure - Told what ended a round; the next one begins after a while. */
  constructor(
    private readonly verify: VerifyVersions,
    private readonly onFailure: (error: unknown) => void,
  ) {}

  /** Begins; {@link stop} ends it. */
  start(): void {
    this.running = this.run();
  }

  /** Ends the work at the next chunk and resolves when nothing of it is left. The version is taken up again later. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  private async run(): Promise<void> {
    const { signal } = this.stopping;
    while (!this.stopped()) {
      let restMs = 0;
      try {
        this.stretchStartedMs = performance.now();
        if (!(await this.verify.next({ breathe: () => this.breathe() }))) restMs = IDLE_MS;
      } catch (error) {
        if (this.stopped()) return;
        this.onFailure(error);
        restMs = TROUBLE_MS;
      }
      await pause(restMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  private stopped(): boolean {
    return this.stopping.signal.aborted;
  }

  private async breathe(): Promise<void> {
    this.stopping.signal.throwIfAborted();
    await setImmediate();
    const stretchMs = performance.now() - this.stretchStartedMs;
    if (stretchMs < STRETCH_MS) return;
    await pause(Math.min(stretchMs, 10 * STRETCH_MS), undefined, { signal: this.stopping.signal });
    this.stretchStartedMs = performance.now();
  }
}
