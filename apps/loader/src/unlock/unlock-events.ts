import type { UnlockImages, UnlockStatus } from '@azaion/unlock';

const TICK_MS = 1000;
const KEEP_ALIVE_MS = 15_000;
/** Events kept for clients that come back. */
const KEPT_EVENTS = 256;

interface UnlockEvent {
  readonly sequence: number;
  readonly status: UnlockStatus;
}

/** F5: an unlock as a stream of events: every change of state, and the progress each second while a run is at work. */
export class UnlockEvents {
  private readonly kept: UnlockEvent[] = [];
  private readonly waiting = new Set<() => void>();
  /** Tells the events of this process from those before a restart. */
  private readonly epoch: string;
  private readonly unsubscribe: () => void;
  private ticker: NodeJS.Timeout | undefined;
  private lastSequence = 0;
  private closed = false;

  constructor(
    private readonly unlock: UnlockImages,
    startedAtMs: number,
  ) {
    this.epoch = startedAtMs.toString(36);
    this.record();
    this.unsubscribe = unlock.subscribe(() => this.record());
  }

  /**
   * Server-sent events (WHATWG HTML) until the reader stops or {@link close} is called. It starts with what was missed since the event
   * named, or with the status as it is now.
   *
   * @param lastEventId - `Last-Event-ID` of the request: untrusted.
   */
  async *stream(lastEventId: string | undefined): AsyncGenerator<string> {
    let seen = this.sequenceOf(lastEventId) ?? this.lastSequence - 1;
    while (!this.isClosed()) {
      for (const event of this.kept.filter(({ sequence }) => sequence > seen)) {
        seen = event.sequence;
        yield `id: ${this.epoch}-${event.sequence}\ndata: ${JSON.stringify(event.status)}\n\n`;
      }
      if (!this.isClosed() && !(await this.nextEvent(seen))) yield ': still here\n\n';
    }
  }

  /** Ends every stream. */
  close(): void {
    this.closed = true;
    this.unsubscribe();
    clearInterval(this.ticker);
    this.wakeAll();
  }

  private record(): void {
    this.lastSequence += 1;
    this.kept.push({ sequence: this.lastSequence, status: this.unlock.status() });
    if (this.kept.length > KEPT_EVENTS) this.kept.shift();
    if (this.unlock.running) this.ticker ??= setInterval(() => this.record(), TICK_MS).unref();
    else {
      clearInterval(this.ticker);
      this.ticker = undefined;
    }
    this.wakeAll();
  }

  private wakeAll(): void {
    for (const wake of this.waiting) wake();
  }

  /** @returns Whether something happened, before it was time for a sign of life. */
  private async nextEvent(seen: number): Promise<boolean> {
    if (this.lastSequence > seen) return true;
    return new Promise((resolve) => {
      const settle = (happened: boolean): void => {
        clearTimeout(timer);
        this.waiting.delete(wake);
        resolve(happened);
      };
      const wake = (): void => settle(true);
      const timer = setTimeout(() => settle(false), KEEP_ALIVE_MS).unref();
      this.waiting.add(wake);
    });
  }

  private sequenceOf(lastEventId: string | undefined): number | undefined {
    const match = /^([0-9a-z]+)-(\d{1,15})$/.exec(lastEventId ?? '');
    const sequence = Number(match?.[2]);
    return match?.[1] === this.epoch && sequence <= this.lastSequence ? sequence : undefined;
  }

  private isClosed(): boolean {
    return this.closed;
  }
}
