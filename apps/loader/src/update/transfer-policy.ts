/** When and how fast the background may use the network. */
export class TransferPolicy {
  private readonly startMinute: number | undefined;
  private readonly endMinute: number;

  /**
   * @param bytesPerSecond - On average; `undefined` for no limit.
   * @param window - `HH:MM-HH:MM` in local time, also over midnight; `undefined` for always.
   */
  constructor(
    readonly bytesPerSecond: number | undefined,
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

  /** How long to rest so that what was moved keeps to the limit. @param elapsedMs - Since the first byte. */
  restMs(bytes: number, elapsedMs: number): number {
    return this.bytesPerSecond === undefined ? 0 : Math.max(0, (bytes / this.bytesPerSecond) * 1000 - elapsedMs);
  }
}

function minuteOfDay(text: string): number {
  const [hours = 0, minutes = 0] = text.split(':').map(Number);
  return hours * 60 + minutes;
}
