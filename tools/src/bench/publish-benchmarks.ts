import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

import { findProgram, pseudoRandomStream } from '@azaion/testing';

import { type Measurement, median, rounded } from './bench-result.js';
import { startBenchSystem } from './bench-system.js';
import { peakMemoryOf, type TimedCommand, timeProcess } from './timed-process.js';

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;
const ROUNDS = 5;
/** The largest peak of these counts. */
const WATCHED_ROUNDS = 3;
const LEAST_MB_PER_SECOND = 220;
const MOST_MIB = 200;

/** P10: publishes 1 GiB of new content to a file store on this machine, beside hashing the same file once. */
export async function publishBenchmarks(): Promise<readonly Measurement[]> {
  const bench = await startBenchSystem();
  try {
    const plain = join(bench.directory.path, 'plain.bin');
    const [publishing, hashing]: [number[], number[]] = [[], []];
    const installed = findProgram('openssl') !== undefined;
    const idleBytes = await peakMemoryOf(bench.command('list', 'models'));
    const published = async <T>(round: number, by: (command: TimedCommand) => Promise<T>): Promise<T> => {
      await pipeline(pseudoRandomStream(`publish ${round}`, GIB), createWriteStream(plain, { flush: true }));
      const taken = await by(bench.command('publish', plain, '--name', 'published.bin'));
      await bench.verified('published.bin');
      return taken;
    };
    for (let round = 0; round <= ROUNDS; round++) {
      const seconds = await published(round, timeProcess);
      const hashed = installed
        ? await timeProcess({ command: 'openssl', args: ['dgst', '-sha256', plain] })
        : undefined;
      if (round === 0) continue; // warms the caches
      publishing.push(seconds);
      if (hashed !== undefined) hashing.push(hashed);
    }
    const speed = GIB / 1e6 / median(publishing);
    const peaks: number[] = [];
    for (let round = 0; round < WATCHED_ROUNDS; round++) peaks.push(await published(ROUNDS + 1 + round, peakMemoryOf));
    const aboveIdle = (Math.max(...peaks) - idleBytes) / MIB;
    const hash = hashing.length === 0 ? 'not installed' : rounded(GIB / 1e6 / median(hashing));
    return [
      {
        id: 'P10',
        bar: `publish 1 GiB at ≥ ${LEAST_MB_PER_SECOND} MB/s`,
        value: speed,
        unit: 'MB/s',
        limit: LEAST_MB_PER_SECOND,
        direction: 'min',
        peers: { 'ours, seconds': rounded(median(publishing)), 'openssl dgst -sha256 alone, MB/s': hash },
      },
      {
        id: 'P10',
        bar: `peak of the publisher above its idle ≤ ${MOST_MIB} MiB`,
        value: aboveIdle,
        unit: 'MiB',
        limit: MOST_MIB,
        direction: 'max',
        peers: { 'idle, MiB': rounded(idleBytes / MIB) },
      },
    ];
  } finally {
    await bench.stop();
  }
}
