import { execFileSync } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

import { findProgram, pseudoRandomStream } from '@azaion/testing';

import { type Measurement, median, rounded } from './bench-result.js';
import { type BenchSystem, compiled, startBenchSystem } from './bench-system.js';
import { bareChecks, besideFloor } from './floor.js';
import { type TimedCommand, timeInTurn } from './timed-process.js';

const GIB = 1024 ** 3;
const ROUNDS = 5;
const NOT_INSTALLED = 'not installed';

/** P1 and P2: opens a 1 GiB resource from local packs into a file, two cores, beside `openssl`, `age` and `rclone`; and on one core. */
export async function openBenchmarks(only: ReadonlySet<string>): Promise<readonly Measurement[]> {
  const bench = await startBenchSystem();
  try {
    const plain = join(bench.directory.path, 'plain.bin');
    await pipeline(pseudoRandomStream('bench', GIB), createWriteStream(plain));
    await bench.publish(plain, 'bench.bin');
    const token = await bench.token();
    const commands = new Map<string, TimedCommand>([['two cores', openCommand(bench, token, 2)]]);
    if (only.has('P1'))
      for (const [name, peer] of [['checks', bareChecks(GIB)] as const, ...(await peers(bench, plain))])
        commands.set(name, peer);
    if (only.has('P2')) commands.set('one core', openCommand(bench, token, 1));
    const seconds = await timeInTurn(commands, ROUNDS);
    const medianOf = (name: string): number | undefined => {
      const taken = seconds.get(name);
      return taken && median(taken);
    };
    const ours = medianOf('two cores') ?? NaN;
    return [
      ...(only.has('P1') ? againstPeers(ours, medianOf) : []),
      ...(only.has('P2') ? [againstOneCore(ours, medianOf('one core') ?? NaN)] : []),
    ];
  } finally {
    await bench.stop();
  }
}

function againstPeers(ours: number, medianOf: (name: string) => number | undefined): readonly Measurement[] {
  const checks = medianOf('checks') ?? NaN;
  const bars = [
    { peer: 'openssl', most: 1.25 },
    { peer: 'age', most: 0.8 },
    { peer: 'rclone', most: 0.5 },
  ].map(({ peer, most }): Measurement => {
    const theirs = medianOf(peer);
    return {
      id: 'P1',
      bar: `open 1 GiB, wall ≤ ${most} × ${peer}`,
      value: theirs === undefined ? NaN : ours / theirs,
      unit: `× ${peer}`,
      limit: most,
      direction: 'max',
      peers: {
        'ours, seconds': rounded(ours),
        [`${peer}, seconds`]: theirs === undefined ? NOT_INSTALLED : rounded(theirs),
      },
    };
  });
  return [...bars, besideFloor('P1', 'open 1 GiB', 'openssl', { ours, peer: medianOf('openssl') ?? NaN, checks })];
}

function againstOneCore(two: number, one: number): Measurement {
  return {
    id: 'P2',
    bar: 'two cores ≥ 1.5 × one core',
    value: one / two,
    unit: '×',
    limit: 1.5,
    direction: 'min',
    peers: { 'one core, seconds': rounded(one), 'two cores, seconds': rounded(two) },
  };
}

function openCommand(bench: BenchSystem, token: string, cores: 1 | 2): TimedCommand {
  const work = join(bench.directory.path, `work-${cores}`);
  const removes = join(bench.directory.path, 'out');
  const where = ['--api', bench.system.adminUrl, '--packs', bench.packsDirectory];
  const args = [
    compiled('open-resource'),
    ...where,
    '--token',
    token,
    '--work',
    work,
    '--resource',
    'models/bench.bin',
    '--output',
    removes,
    '--threads',
    String(cores),
  ];
  return cores === 1
    ? { command: 'taskset', args: ['-c', '0', process.execPath, ...args], removes }
    : { command: process.execPath, args, removes };
}

/** Encrypts the same plaintext for each peer that is installed. */
async function peers(bench: BenchSystem, plain: string): Promise<readonly [string, TimedCommand][]> {
  const directory = join(bench.directory.path, 'peers');
  const output = join(bench.directory.path, 'out');
  await mkdir(directory);
  const commands: [string, TimedCommand][] = [];
  if (findProgram('openssl') !== undefined) {
    const key = ['-aes-256-cbc', '-K', '11'.repeat(32), '-iv', '22'.repeat(16)];
    const sealed = join(directory, 'openssl');
    execFileSync('openssl', ['enc', '-e', ...key, '-in', plain, '-out', sealed]);
    commands.push([
      'openssl',
      { command: 'openssl', args: ['enc', '-d', ...key, '-in', sealed, '-out', output], removes: output },
    ]);
  }
  if (findProgram('age') !== undefined) {
    const identity = join(directory, 'age-key');
    execFileSync('age-keygen', ['-o', identity], { stdio: 'ignore' });
    const recipient = execFileSync('age-keygen', ['-y', identity]).toString().trim();
    const sealed = join(directory, 'age');
    execFileSync('age', ['-r', recipient, '-o', sealed, plain]);
    commands.push(['age', { command: 'age', args: ['-d', '-i', identity, '-o', output, sealed], removes: output }]);
  }
  if (findProgram('rclone') !== undefined) {
    const store = join(directory, 'rclone');
    const password = execFileSync('rclone', ['obscure', 'benchmark']).toString().trim();
    const configuration = join(directory, 'rclone.conf');
    await writeFile(configuration, `[sealed]\ntype = crypt\nremote = ${store}\npassword = ${password}\n`);
    execFileSync('rclone', ['--config', configuration, 'copyto', plain, 'sealed:bench.bin']);
    commands.push([
      'rclone',
      {
        command: 'rclone',
        args: ['--config', configuration, 'cat', 'sealed:bench.bin'],
        outputPath: output,
        removes: output,
      },
    ]);
  }
  return commands;
}
