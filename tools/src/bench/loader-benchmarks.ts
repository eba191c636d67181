import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';

import { LEGACY_RESOURCE_KEY, legacyAesKey, legacyEncrypt } from '@azaion/crypto';
import {
  answersHttp,
  findProgram,
  freePort,
  pseudoRandomStream,
  type RunningProcess,
  startProcess,
  tempDirectory,
} from '@azaion/testing';

import { WORKSPACE } from '../started-service.js';
import { type Measurement, median, rounded } from './bench-result.js';
import { compiled, startBenchSystem } from './bench-system.js';
import { bareChecks, besideFloor } from './floor.js';
import { percentile } from './http-load.js';
import { peakMemoryOf, type TimedCommand, timeInTurn, timeProcess } from './timed-process.js';

const GIB = 1024 ** 3;
const ROUNDS = 5;
const IV = Buffer.alloc(16, 7);
const LOADER = join(WORKSPACE, 'apps', 'loader', 'dist', 'main.js');
const CLI = join(WORKSPACE, 'apps', 'cli', 'dist', 'main.js');
/** An idle process is looked at after this time: what its start needed has been given back by then. */
const SETTLE_MS = 5_000;

/** P3, P9, P12: the older format, serving over HTTP, and what a Loader costs beside a bare application. */
export async function loaderBenchmarks(only: ReadonlySet<string>): Promise<readonly Measurement[]> {
  return [
    ...(only.has('P3') ? await legacyOpen() : []),
    ...(only.has('P9') || only.has('P12') ? await serving(only) : []),
    ...(only.has('P12') ? await besideBareApp() : []),
  ];
}

/** P3: file to file, against `openssl` and against reading the file as a whole. */
async function legacyOpen(): Promise<readonly Measurement[]> {
  const directory = await tempDirectory('azaion-bench');
  try {
    const path = (name: string): string => join(directory.path, name);
    const key = legacyAesKey(LEGACY_RESOURCE_KEY);
    await pipeline(pseudoRandomStream('bench', GIB), legacyEncrypt(key, IV), createWriteStream(path('whole')));
    // `openssl` takes the IV as an argument, not from the file.
    const strip: TimedCommand = { command: 'tail', args: ['-c', '+17', path('whole')], outputPath: path('body') };
    await timeProcess(strip);
    const node = process.execPath;
    const ours = ['legacy', 'open', path('whole'), '-o', path('out')];
    const removes = path('out');
    const commands = new Map<string, TimedCommand>([
      ['ours', { command: node, args: [CLI, ...ours, '--fast'], removes }],
      ['with hash and flush', { command: node, args: [CLI, ...ours], removes }],
      ['read whole', { command: node, args: [compiled('read-whole'), path('whole'), path('out')], removes }],
    ]);
    const keys = ['-K', key.toString('hex'), '-iv', IV.toString('hex')];
    if (findProgram('openssl') !== undefined)
      commands.set('openssl', {
        command: 'openssl',
        args: ['enc', '-d', '-aes-256-cbc', ...keys, '-in', path('body'), '-out', path('out')],
        removes,
      });
    const seconds = await timeInTurn(commands, ROUNDS);
    const secondsOf = (name: string): number => median(seconds.get(name) ?? []);
    const peaks = new Map<string, number[]>([...commands.keys()].map((name) => [name, []]));
    for (let round = 0; round < ROUNDS; round++)
      for (const [name, command] of commands) peaks.get(name)?.push(await peakMemoryOf(command));
    const mibOf = (name: string): number => median(peaks.get(name) ?? []) / 1024 ** 2;
    const oursSeconds = secondsOf('ours');
    const openssl = commands.has('openssl') ? secondsOf('openssl') : NaN;
    const figures = {
      'ours, seconds': rounded(oursSeconds),
      'with SHA-256 and flush, seconds': rounded(secondsOf('with hash and flush')),
      'read whole, seconds': rounded(secondsOf('read whole')),
    };
    return [
      {
        id: 'P3',
        bar: 'legacy 1 GiB, wall ≤ 1.0 × openssl',
        value: oursSeconds / openssl,
        unit: '× openssl',
        limit: 1,
        direction: 'max',
        peers: { ...figures, 'openssl, seconds': Number.isNaN(openssl) ? 'not installed' : rounded(openssl) },
      },
      {
        id: 'P3',
        bar: 'legacy 1 GiB, ≥ 3 × faster than reading it whole',
        value: secondsOf('read whole') / oursSeconds,
        unit: '×',
        limit: 3,
        direction: 'min',
        peers: figures,
      },
      {
        id: 'P3',
        bar: 'legacy 1 GiB, at least 15 × less memory than reading it whole',
        value: mibOf('read whole') / mibOf('ours'),
        unit: '×',
        limit: 15,
        direction: 'min',
        peers: { 'ours, MiB': rounded(mibOf('ours')), 'read whole, MiB': rounded(mibOf('read whole')) },
      },
    ];
  } finally {
    await directory.remove();
  }
}

/** P9, and of P12 the probes while content is opened. */
async function serving(only: ReadonlySet<string>): Promise<readonly Measurement[]> {
  const bench = await startBenchSystem();
  const plain = join(bench.directory.path, 'plain.bin');
  const port = await freePort();
  let server: RunningProcess | undefined;
  let bare: RunningProcess | undefined;
  try {
    await pipeline(pseudoRandomStream('bench', GIB), createWriteStream(plain));
    await bench.publish(plain, 'bench.bin');
    const { loaderUrl } = bench.system;
    const body = JSON.stringify({ filename: 'bench.bin', folder: 'models' });
    const headers = ['-H', `authorization: Bearer ${await bench.token()}`, '-H', 'content-type: application/json'];
    const load: TimedCommand = {
      command: 'curl',
      args: ['-sSf', '-o', '/dev/null', '-d', body, ...headers, `${loaderUrl}/load/bench.bin`],
    };
    const results: Measurement[] = [];
    if (only.has('P9')) {
      server = await startProcess({
        command: process.execPath,
        args: [compiled('file-server'), String(port), plain],
      });
      const url = `http://127.0.0.1:${port}/`;
      const peer: TimedCommand = {
        command: 'curl',
        args: ['-sSf', '--retry-connrefused', '--retry', '5', '-o', '/dev/null', url],
      };
      const seconds = await timeInTurn(
        new Map([
          ['ours', load],
          ['file server', peer],
          ['checks', bareChecks(GIB)],
        ]),
        ROUNDS,
      );
      const ours = median(seconds.get('ours') ?? []);
      const theirs = median(seconds.get('file server') ?? []);
      const checks = median(seconds.get('checks') ?? []);
      results.push({
        id: 'P9',
        bar: '/load of 1 GiB cached ≥ 0.8 × a Node file server',
        value: theirs / ours,
        unit: '× its speed',
        limit: 0.8,
        direction: 'min',
        peers: {
          'ours, seconds': rounded(ours),
          'file server, seconds': rounded(theirs),
        },
      });
      results.push(besideFloor('P9', '/load of 1 GiB cached', 'file server', { ours, peer: theirs, checks }));
    }
    if (only.has('P12')) {
      const barePort = await freePort();
      const bareUrl = `http://127.0.0.1:${barePort}/health`;
      bare = await startProcess({
        command: process.execPath,
        args: [compiled('bare-app'), String(barePort)],
        ready: answersHttp(bareUrl),
      });
      const probes = { ours: [] as number[], bare: [] as number[] };
      for (let round = 0; round < ROUNDS; round++) {
        const state: { done: boolean } = { done: false };
        // Its memory is not watched: looking through every process of the machine would keep the probes waiting.
        const loading = timeProcess(load).finally(() => (state.done = true));
        while (!state.done) {
          probes.ours.push(await probe(`${loaderUrl}/health`));
          probes.bare.push(await probe(bareUrl));
          await delay(5);
        }
        await loading;
      }
      results.push({
        id: 'P12',
        bar: '/health while 1 GiB is opened, p95 ≤ 10 ms',
        value: percentile(probes.ours, 0.95),
        unit: 'ms',
        limit: 10,
        direction: 'max',
        peers: {
          probes: probes.ours.length,
          'bare application beside it, p95 ms': rounded(percentile(probes.bare, 0.95)),
        },
      });
    }
    return results;
  } finally {
    await server?.stop();
    await bare?.stop();
    await bench.stop();
  }
}

/** @returns Milliseconds until the whole answer is there. */
async function probe(url: string): Promise<number> {
  const begin = performance.now();
  await (await fetch(url)).arrayBuffer();
  return performance.now() - begin;
}

/** P12: start-up and idle memory, in turn with a bare application. */
async function besideBareApp(): Promise<readonly Measurement[]> {
  const directory = await tempDirectory('azaion-bench');
  const seconds = { ours: [] as number[], bare: [] as number[] };
  const mib = { ours: [] as number[], bare: [] as number[] };
  try {
    await mkdir(join(directory.path, 'data'));
    for (let round = 0; round < ROUNDS; round++)
      for (const name of ['ours', 'bare'] as const) {
        const port = String(await freePort());
        const begin = performance.now();
        const running = await startProcess({
          command: process.execPath,
          args: name === 'ours' ? [LOADER] : [compiled('bare-app'), port],
          env: {
            RESOURCE_API_URL: 'http://127.0.0.1:9',
            LOADER_DATA_DIR: join(directory.path, 'data'),
            LOADER_PORT: port,
            DEVICE_CONF: join(directory.path, 'none'),
          },
          ready: answersHttp(`http://127.0.0.1:${port}/health`),
        });
        seconds[name].push((performance.now() - begin) / 1000);
        await delay(SETTLE_MS);
        mib[name].push((await running.memory()).residentBytes / 1024 ** 2);
        await running.stop();
      }
    const start = median(seconds.ours) / median(seconds.bare);
    const idle = median(mib.ours) / median(mib.bare);
    return [
      {
        id: 'P12',
        bar: 'start-up ≤ 2 × a bare application',
        value: start,
        unit: '×',
        limit: 2,
        direction: 'max',
        peers: { 'ours, seconds': rounded(median(seconds.ours)), 'bare, seconds': rounded(median(seconds.bare)) },
      },
      {
        id: 'P12',
        bar: 'idle memory ≤ 1.4 × a bare application',
        value: idle,
        unit: '×',
        limit: 1.4,
        direction: 'max',
        peers: { 'ours, MiB': rounded(median(mib.ours)), 'bare, MiB': rounded(median(mib.bare)) },
      },
    ];
  } finally {
    await directory.remove();
  }
}
