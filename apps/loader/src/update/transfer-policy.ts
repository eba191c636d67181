/** When and how fast the background may use the network. It keeps the account of what it moved: one for all transfers of a process. */
export class TransferPolicy {
  private readonly startMinute: number | undefined;
  private readonly endMinute: number;
  /** When what was moved so far has kept to the limit. */
  private dueMs = -Infinity;

  /**
   * @param bytesPerSecond - On average; `undefined` for no limit.
   * @param window - `HH:MM-HH:MM` in local time, also over midnight; `undefined` for always.
   */
  constructor(
    private readonly bytesPerSecond: number | undefined,
    window: string | undefined,
  ) {
    const [start, end] = (window ?? '').split('-').map(minuteOfDay);
    this.startMinute = window === undefined ? undefined : start;
    this.endMinute = end ?? 0;
  }

  /** Whether the background may use the network now. @param at - The machine's own time: the window is a politeness, no protection. */
  isOpen(at: Date): boolean {
    if (this.startMinute === undefined || this.startMinute === this.endMinute) return true;
    const minute = at.getHours() * 60 + at.getMinutes();
    return this.startMinute < this.endMinute
      ? minute >= this.startMinute && minute < this.endMinute
      : minute >= this.startMinute || minute < this.endMinute;
  }

  /**
   * Takes note of a transfer.
   *
   * @param begunMs - When it began, on a clock that only goes forwards. Time in which nothing was moved is not saved up.
   */
  moved(bytes: number, begunMs: number): void {
    if (this.bytesPerSecond === undefined) return;
    this.dueMs = Math.max(this.dueMs, begunMs) + (bytes / this.bytesPerSecond) * 1000;
  }

  /** How long to rest so that what was moved keeps to the limit, in milliseconds. */
  restMs(nowMs: number): number {
    return Math.max(0, this.dueMs - nowMs);
  }
}

function minuteOfDay(text: string): number {
  const [hours = 0, minutes = 0] = text.split(':').map(Number);
  return hours * 60 + minutes;
}
