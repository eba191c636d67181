import { type Measurement, rounded } from './bench-result.js';
import { compiled } from './bench-system.js';
import type { TimedCommand } from './timed-process.js';

/** What is done beside checking may cost a quarter more than where nothing is checked. */
const MOST = 1.25;

/** Checks tags and hashes of so many bytes on two threads, and does nothing else: see `bare-checks.ts`. */
export function bareChecks(sizeBytes: number): TimedCommand {
  return { command: process.execPath, args: [compiled('bare-checks'), String(sizeBytes), '2'] };
}

/** What was measured in one run, in seconds. */
export interface FloorFigures {
  readonly ours: number;
  /** Of whoever does the same and checks nothing. */
  readonly peer: number;
  readonly checks: number;
}

/**
 * Ours beside a peer that checks nothing and the checks alone, one after the other (ADR 0018): the bar that holds whatever hashing costs a machine.
 *
 * @param what - What is done: `open 1 GiB`.
 * @param peer - Who does it without checks.
 */
export function besideFloor(id: string, what: string, peer: string, figures: FloorFigures): Measurement {
  return {
    id,
    bar: `${what}, wall ≤ ${MOST} × ${peer} and the checks alone together (ADR 0018)`,
    value: figures.ours / (figures.peer + figures.checks),
    unit: '× both together',
    limit: MOST,
    direction: 'max',
    peers: {
      'ours, seconds': rounded(figures.ours),
      [`${peer}, seconds`]: Number.isNaN(figures.peer) ? 'not installed' : rounded(figures.peer),
      'tags and hashes alone, seconds': rounded(figures.checks),
    },
  };
}
