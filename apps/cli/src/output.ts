import { SingleBar } from 'cli-progress';

import type { CliFailure } from './cli-failure.js';
import { EXIT_CODES } from './exit-codes.js';
import { formatBytes, formatSeconds } from './format.js';

const PLAIN_LINE_EVERY_MS = 5000;
const RATE_WINDOW_MS = 1000;

/** Something that takes text: a standard stream, or a buffer in a test. */
export interface TextSink {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

/** Shows how far one piece of work has come. */
export interface Progress {
  /** Running total and, once known, the whole, in bytes. */
  update(doneBytes: number, totalBytes?: number, note?: string): void;
  /** Removes the bar or prints the last line. Safe to call twice. */
  stop(): void;
}

/**
 * Where a command speaks: results to standard output, everything else to standard error. With `json` a command prints exactly one
 * JSON object on standard output, whether it succeeds or fails, and nothing else.
 */
export class Output {
  constructor(
    private readonly stdout: TextSink,
    private readonly stderr: TextSink,
    readonly json: boolean,
    private readonly nowMs: () => number = () => performance.now(),
  ) {}

  /** Says something on the way. */
  note(text: string): void {
    if (!this.json) this.stderr.write(`${text}\n`);
  }

  /** The outcome, once: `facts` for machines, `lines` for people. */
  result(facts: Readonly<Record<string, unknown>>, lines: readonly string[]): void {
    this.stdout.write(this.json ? `${JSON.stringify({ ok: true, ...facts })}\n` : `${lines.join('\n')}\n`);
  }

  /** What was found by a command that fails then, for people: whoever keeps standard output keeps it. Machines get it with the failure. */
  report(lines: readonly string[]): void {
    if (!this.json) this.stdout.write(`${lines.join('\n')}\n`);
  }

  /** The outcome when it failed: what happened, what it means, what to do next. */
  failure(failed: CliFailure): void {
    const { code, message, meaning, next } = failed;
    if (this.json) {
      const { status } = EXIT_CODES[failed.exit];
      this.stdout.write(
        `${JSON.stringify({ ok: false, ...failed.facts, error: { code, message, meaning, next, exitStatus: status } })}\n`,
      );
      return;
    }
    this.stderr.write(`azaion: ${message} [${code}]\n  ${meaning}\n  Next: ${next}\n`);
  }

  /** Starts showing progress: a bar on a terminal, now and then a plain line elsewhere, nothing with `json`. */
  progress(label: string, totalBytes?: number): Progress {
    if (this.json) return { update: () => undefined, stop: () => undefined };
    return this.stderr.isTTY === true
      ? new BarProgress(label, totalBytes)
      : new LineProgress(label, totalBytes, this.stderr, this.nowMs);
  }
}

/** Speed over the last moments, in bytes per second. */
class RateMeter {
  private rate = 0;
  private lastBytes = 0;
  private lastMs: number;

  constructor(private readonly nowMs: () => number) {
    this.lastMs = nowMs();
  }

  measure(doneBytes: number): number {
    const elapsedMs = this.nowMs() - this.lastMs;
    if (elapsedMs >= RATE_WINDOW_MS || (this.rate === 0 && elapsedMs > 0)) {
      this.rate = Math.max(0, ((doneBytes - this.lastBytes) * 1000) / elapsedMs);
      this.lastBytes = doneBytes;
      this.lastMs += elapsedMs;
    }
    return this.rate;
  }
}

class BarProgress implements Progress {
  private readonly bar: SingleBar;
  private readonly rate = new RateMeter(() => performance.now());

  constructor(
    label: string,
    private totalBytes: number | undefined,
  ) {
    this.bar = new SingleBar({
      format: `${label} [{bar}] {percentage}% | {size} | {speed} | {left} {note}`,
      hideCursor: true,
      clearOnComplete: true,
      stream: process.stderr,
      gracefulExit: false,
    });
    this.bar.start(totalBytes ?? 0, 0, { size: '', speed: '', left: '', note: '' });
  }

  update(doneBytes: number, totalBytes?: number, note = ''): void {
    this.totalBytes = totalBytes || this.totalBytes;
    const total = this.totalBytes;
    const rate = this.rate.measure(doneBytes);
    // While the whole is not known the bar stays empty.
    this.bar.setTotal(total ?? 0);
    this.bar.update(total === undefined ? 0 : Math.min(doneBytes, total), {
      size: total === undefined ? formatBytes(doneBytes) : `${formatBytes(doneBytes)}/${formatBytes(total)}`,
      speed: `${formatBytes(rate)}/s`,
      left: timeLeft(doneBytes, total, rate),
      note,
    });
  }

  stop(): void {
    this.bar.stop();
  }
}

/** Empty where it cannot be told, and at the end. */
function timeLeft(doneBytes: number, totalBytes: number | undefined, bytesPerSecond: number): string {
  if (totalBytes === undefined || doneBytes >= totalBytes || bytesPerSecond === 0) return '';
  return `${formatSeconds((totalBytes - doneBytes) / bytesPerSecond)} left`;
}

class LineProgress implements Progress {
  private readonly startedMs: number;
  private lastLineMs: number;
  private last = '';
  private printed = '';

  constructor(
    private readonly label: string,
    private totalBytes: number | undefined,
    private readonly sink: TextSink,
    private readonly nowMs: () => number,
  ) {
    this.startedMs = nowMs();
    this.lastLineMs = this.startedMs;
  }

  update(doneBytes: number, totalBytes?: number, note?: string): void {
    this.totalBytes = totalBytes ?? this.totalBytes;
    const total = this.totalBytes;
    const size =
      total === undefined || total === 0
        ? formatBytes(doneBytes)
        : `${formatBytes(doneBytes)} of ${formatBytes(total)} (${String(Math.floor((doneBytes * 100) / total))}%)`;
    const seconds = (this.nowMs() - this.startedMs) / 1000;
    const rate = seconds > 0 ? doneBytes / seconds : 0;
    const speed = rate > 0 ? `${formatBytes(rate)}/s` : '';
    this.last = [`${this.label}: ${size}`, speed, timeLeft(doneBytes, total, rate), note]
      .filter((part) => part !== undefined && part !== '')
      .join(', ');
    if (this.nowMs() - this.lastLineMs >= PLAIN_LINE_EVERY_MS) this.print();
  }

  stop(): void {
    if (this.last !== this.printed) this.print();
  }

  private print(): void {
    this.lastLineMs = this.nowMs();
    this.printed = this.last;
    this.sink.write(`${this.last}\n`);
  }
}
