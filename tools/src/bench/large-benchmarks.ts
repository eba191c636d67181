import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';

import { findProgram, processTreeMemory, pseudoRandomStream, startSoftwareTpm } from '@azaion/testing';

import { type Measurement, median, rounded } from './bench-result.js';
import { type BenchSystem, compiled, startBenchSystem } from './bench-system.js';
import { outputOf, type TimedCommand } from './timed-process.js';

const MIB = 1024 ** 2;
/**
 * What the sizes are multiples of. A smaller one shows in minutes whether memory grows with the size; only the whole GiB is the bar's.
 */
const UNIT_BYTES = Number(process.env['AZAION_BENCH_UNIT_MIB'] ?? 1024) * MIB;
const SLOW_CLIENTS = 8;
/** What a slow client takes at a time, and how long it then rests. */
const SIP_BYTES = MIB;
const REST_MS = 200;
const MOST_MIB = 160;
/** 10 GiB may take this much more than 1 GiB. */
const MOST_GROWTH = 1.1;
/** Starts of a Loader of which each gives one figure. */
const COLD_STARTS = 5;

/** P4 and P6: memory of a Loader that opens up to 10 GiB with eight slow clients beside, and how soon the first byte comes. */
export async function largeBenchmarks(only: ReadonlySet<string>): Promise<readonly Measurement[]> {
  const cold = only.has('P6') ? await coldFirstByte() : [];
  const bench = await startBenchSystem();
  try {
    const hashes = new Map<string, string>();
    const add = async (name: string, sizeBytes: number): Promise<void> => {
      hashes.set(name, await publish(bench, name, sizeBytes));
    };
    await add('small.bin', 10 * MIB);
    await add('ten.bin', 10 * UNIT_BYTES);
    const measurements: Measurement[] = [...cold];
    if (only.has('P6')) measurements.push(...(await firstByte(bench)));
    if (only.has('P4')) {
      await add('one.bin', UNIT_BYTES);
      await add('four.bin', 4 * UNIT_BYTES);
      measurements.push(...(await memory(bench, hashes)));
    }
    return measurements;
  } finally {
    await bench.stop();
  }
}

/** @returns SHA-256 of what was published, hexadecimal. */
async function publish(bench: BenchSystem, name: string, sizeBytes: number): Promise<string> {
  const plain = join(bench.directory.path, 'plain.bin');
  const sha256 = createHash('sha256');
  const content = pseudoRandomStream(name, sizeBytes).on('data', (part: Buffer) => sha256.update(part));
  await pipeline(content, createWriteStream(plain));
  await bench.publish(plain, name);
  await rm(plain);
  return sha256.digest('hex');
}

async function firstByte(bench: BenchSystem): Promise<readonly Measurement[]> {
  const taken = async (name: string): Promise<number> => {
    const where = ['--api', bench.system.adminUrl, '--packs', bench.packsDirectory];
    const work = join(bench.directory.path, 'first-byte');
    const what = ['--token', await bench.token(), '--work', work, '--resource', `models/${name}`];
    const command: TimedCommand = { command: process.execPath, args: [compiled('first-byte'), ...where, ...what] };
    await outputOf(command); // the second run finds its parts of the recipe on the device
    return median(JSON.parse(await outputOf(command)) as number[]);
  };
  const small = await taken('small.bin');
  const large = await taken('ten.bin');
  const peers = { '10 MiB, ms': rounded(small), '10 GiB, ms': rounded(large) };
  return [
    {
      id: 'P6',
      bar: 'first byte of 10 GiB ≤ 2 × that of 10 MiB',
      value: large / small,
      unit: '×',
      limit: 2,
      direction: 'max',
      peers,
    },
    {
      id: 'P6',
      bar: 'first byte of 10 GiB ≤ 150 ms',
      value: large,
      unit: 'ms',
      limit: 150,
      direction: 'max',
      peers,
    },
  ];
}

/**
 * The first byte that a Loader serves after its start, of a resource whose packs lie on the device: it asks for a grant and lets its TPM, one in
 * software, open the recipe key. Without such a TPM on this machine there is no figure.
 */
async function coldFirstByte(): Promise<readonly Measurement[]> {
  if (findProgram('swtpm') === undefined) return [];
  const tpm = await startSoftwareTpm();
  const loaderEnv = { LOADER_BINDING: 'tpm', TPM_TCTI: tpm.tcti, LOADER_LOCAL_TRUST: 'session' };
  const bench = await startBenchSystem({ loaderEnv });
  try {
    await publish(bench, 'cold.bin', 10 * MIB);
    // As an older service on the device asks, without a token: for the device itself.
    const load = async (): Promise<Response> => {
      const answer = await bench.system.requests.load('cold.bin');
      if (answer.status !== 200) throw new Error(`POST ${answer.url}: status ${answer.status}`);
      return answer;
    };
    await (await load()).arrayBuffer();
    const milliseconds: number[] = [];
    for (let start = 0; start < COLD_STARTS; start++) {
      await bench.system.restartLoader();
      const begin = performance.now();
      const reader = (await load()).body?.getReader();
      await reader?.read();
      milliseconds.push(performance.now() - begin);
      await reader?.cancel();
    }
    return [
      {
        id: 'P6',
        bar: 'first byte of 10 MiB, cold with a TPM ≤ 600 ms',
        value: median(milliseconds),
        unit: 'ms',
        limit: 600,
        direction: 'max',
        peers: { 'slowest of five, ms': rounded(Math.max(...milliseconds)) },
      },
    ];
  } finally {
    await bench.stop();
    await tpm.remove();
  }
}

async function memory(bench: BenchSystem, hashes: ReadonlyMap<string, string>): Promise<readonly Measurement[]> {
  const aboveIdle = new Map<string, number>();
  for (const name of ['one.bin', 'four.bin', 'ten.bin'])
    aboveIdle.set(name, await loadMemory(bench, name, hashes.get(name)));
  const mib = (name: string): number => rounded((aboveIdle.get(name) ?? NaN) / MIB);
  const peers = { '1 GiB, MiB': mib('one.bin'), '4 GiB, MiB': mib('four.bin'), '10 GiB, MiB': mib('ten.bin') };
  const most = Math.max(mib('one.bin'), mib('four.bin'), mib('ten.bin'));
  const growth = mib('ten.bin') / mib('one.bin');
  return [
    {
      id: 'P4',
      bar: `peak of the Loader above its idle ≤ ${MOST_MIB} MiB`,
      value: most,
      unit: 'MiB',
      limit: MOST_MIB,
      direction: 'max',
      peers,
    },
    {
      id: 'P4',
      bar: '10 GiB within 10 % of 1 GiB',
      value: growth,
      unit: '×',
      limit: MOST_GROWTH,
      direction: 'max',
      peers,
    },
  ];
}

/** A new Loader with an empty cache; one client takes everything over the network, eight others sip all the while. */
async function loadMemory(bench: BenchSystem, name: string, sha256: string | undefined): Promise<number> {
  await bench.system.restartLoader();
  await rm(join(bench.system.loaderDataDir, 'packs'), { recursive: true, force: true });
  await bench.system.restartLoader();
  const { pid } = bench.system.loader();
  const url = `${bench.system.loaderUrl}/resources/models/${name}`;
  const headers = { authorization: `Bearer ${await bench.token()}` };
  await (await fetch(url, { method: 'HEAD', headers })).text(); // what one request needs belongs to idle
  const idleBytes = (await processTreeMemory(pid)).residentBytes;
  const done = new AbortController();
  const slow = Array.from({ length: SLOW_CLIENTS }, () => sip(url, headers, done.signal));
  const whole = await fetch(url, { headers });
  if (whole.status !== 200 || whole.body === null) throw new Error(`GET ${url}: status ${whole.status}`);
  const received = createHash('sha256');
  for await (const part of whole.body as AsyncIterable<Uint8Array>) received.update(part);
  done.abort();
  await Promise.allSettled(slow);
  if (received.digest('hex') !== sha256) throw new Error(`${name} did not come as it was published.`);
  return (await processTreeMemory(pid)).peakBytes - idleBytes;
}

async function sip(url: string, headers: Record<string, string>, signal: AbortSignal): Promise<void> {
  const answer = await fetch(url, { headers, signal });
  if (answer.body === null) return;
  let sippedBytes = 0;
  for await (const part of answer.body as AsyncIterable<Uint8Array>) {
    sippedBytes += part.length;
    if (sippedBytes < SIP_BYTES) continue;
    sippedBytes = 0;
    await delay(REST_MS, undefined, { signal });
  }
}
