import { cpus, totalmem } from 'node:os';

/** One measured figure beside its bar. */
export interface BenchResult {
  /** Of docs/benchmarks.md: `P1`. */
  readonly id: string;
  /** What must hold, in words. */
  readonly bar: string;
  /** Three significant digits; `null` when it could not be measured, because a peer is not installed. */
  readonly value: number | null;
  readonly unit: string;
  /** What the value is held against, in its unit. */
  readonly limit: number;
  /** Whether the value may be at most the limit (`max`) or must be at least that (`min`). */
  readonly direction: 'max' | 'min';
  /** Whether the bar holds; what could not be measured does not count as missed. */
  readonly ok: boolean;
  /** What it was compared with, measured in the same run; a peer that is not installed is named with why. */
  readonly peers: Readonly<Record<string, number | string>>;
  readonly machine: string;
  /** ISO 8601. */
  readonly date: string;
  readonly command: string;
}

/** A figure before it is known where and when it was measured. */
export interface Measurement extends Pick<BenchResult, 'id' | 'bar' | 'unit' | 'limit' | 'direction' | 'peers'> {
  /** Not rounded; `NaN` when it could not be measured. */
  readonly value: number;
}

/** Holds a figure against its limit and adds machine, date and command. */
export function asResult(measurement: Measurement): BenchResult {
  const [cpu] = cpus();
  const { value, limit, direction } = measurement;
  const measured = !Number.isNaN(value);
  return {
    ...measurement,
    value: measured ? rounded(value) : null,
    ok: !measured || (direction === 'max' ? value <= limit : value >= limit),
    machine: `${cpus().length} × ${cpu?.model.trim() ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`,
    date: new Date().toISOString(),
    command: `npm run bench -- --only ${measurement.id} --json`,
  };
}

/** The middle one; of an even number the lower middle. @throws RangeError for none. */
export function median(values: readonly number[]): number {
  const middle = values.toSorted((left, right) => left - right)[(values.length - 1) >>> 1];
  if (middle === undefined) throw new RangeError('the median of nothing');
  return middle;
}

/** Three significant digits. */
export function rounded(value: number): number {
  return Number(value.toPrecision(3));
}
