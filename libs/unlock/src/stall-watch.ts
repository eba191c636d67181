import { UnlockError } from './errors.js';

/** Who an unlock is waiting for right now. */
export type Awaited = 'archive' | 'engine' | 'engine-end';

/** How long each may take before the run is given up, in milliseconds. */
export type StallLimits = Readonly<Record<Awaited, number>>;

/** Notices when whoever is being waited for does nothing for too long. */
export class StallWatch {
  private timer: NodeJS.Timeout | undefined;
  private awaited: Awaited | undefined;

  constructor(
    private readonly limits: StallLimits,
    private readonly onStall: (awaited: Awaited) => void,
  ) {}

  /** Something moved; from now on `awaited` has its full time. */
  waitFor(awaited: Awaited): void {
    if (awaited === this.awaited && this.timer !== undefined) {
      this.timer.refresh();
      return;
    }
    clearTimeout(this.timer);
    this.awaited = awaited;
    this.timer = setTimeout(() => this.onStall(awaited), this.limits[awaited]);
    this.timer.unref();
  }

  /** Nobody is being waited for, until {@link waitFor} is called again. */
  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}

/** What a run ends with when whoever it waited for did nothing for too long. */
export function stalled(awaited: Awaited): UnlockError {
  return awaited === 'archive'
    ? new UnlockError(
        'unlock.archive-stalled',
        'No byte of the archive came for too long. Check the disk or the link, then start again.',
      )
    : new UnlockError(
        'unlock.engine-stalled',
        'The container engine did nothing for too long. Restart it, then start the unlock again.',
      );
}
