import { execFile, type PromiseWithChild } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { cp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

import {
  type DockerDaemon,
  findProgram,
  forgetPeakMemory,
  type GeneratedLayer,
  imageArchive,
  processTreeMemory,
  startDockerd,
  tempDirectory,
} from '@azaion/testing';

import { postJson, type StartedSystem } from '../e2e/started-system.js';
import { median, type Measurement, rounded } from './bench-result.js';
import { type BenchSystem, startBenchSystem } from './bench-system.js';
import { bareChecks, besideFloor } from './floor.js';
import { timeProcess } from './timed-process.js';

const ROUNDS = 5;
const LAYERS = 6;
const LAYER_BYTES = 100_000_000;
const REFERENCE = 'azaion/detections:latest';
/** Stands in every layer: wherever it is found, plaintext of the archive lies on the disk. */
const MARKER = 'azaion-bench-marker-5f0c1e7a';
const SAMPLE_MS = 200;
/** Asked 50 times a second, the Loader spends a fifth of its CPU time on the answers. */
const STATUS_POLL_MS = 100;
const run = promisify(execFile);

/** What one way of loading took beside time. */
interface Costs {
  /** At most while it ran, of the engine's storage. */
  readonly diskBytes: number;
  /** At most while it ran, of everybody who took part, above what they had before: VmHWM, begun anew. */
  readonly memoryBytes: number;
}

/**
 * P8: unlock of a 600 MB archive of pre-deployed packs against `docker load` of the plain tar, and the same when the engine has all layers
 * but one. The Loader runs as it does by default; its first unlock, whose code is not compiled yet, is told beside the median of the others. The engine's storage, the packs and the tar lie on one disk.
 */
export async function unlockBenchmarks(): Promise<readonly Measurement[]> {
  if (findProgram('dockerd') === undefined)
    return [
      {
        id: 'P8',
        bar: 'unlock of 600 MB ≤ 1.15 × docker load',
        value: NaN,
        unit: '× docker load',
        limit: 1.15,
        direction: 'max',
        peers: { docker: 'not installed' },
      },
    ];
  const docker = await startDockerd();
  const temporary = await tempDirectory('azaion-bench-tmp');
  const bench = await startBenchSystem({
    loaderEnv: {
      UNLOCK_RUNTIME: 'engine',
      DOCKER_HOST: docker.dockerHost,
      TMPDIR: temporary.path,
    },
  });
  const { system } = bench;
  try {
    const base = Array.from({ length: LAYERS }, (_, index) => `layer-${index}`);
    const first = await writeArchive(join(bench.directory.path, 'first.tar'), base);
    const second = await writeArchive(join(bench.directory.path, 'second.tar'), [...base.slice(0, -1), 'changed']);
    const engine = engineOf(docker, () => system.loader().pid);
    const roots = [system.loaderDataDir, temporary.path, docker.execRoot];

    const token = await system.login(await system.createPerson('Operator'));
    await publish(bench, first);
    const idleBytes = (await system.loader().memory()).residentBytes;
    await engine.rest();
    let memoryBytes = 0;
    const unlock = (): Promise<void> => unlocked(system, token);
    const whole = { unlock: [] as number[], load: [] as number[], checks: [] as number[] };
    let firstSeconds = NaN;
    for (let round = 0; round <= ROUNDS; round++) {
      await engine.clear();
      const loadSeconds = await timed(() => engine.load(first).ended);
      await engine.clear();
      const unlockSeconds = await timed(unlock);
      memoryBytes = Math.max(memoryBytes, (await system.loader().memory()).peakBytes - idleBytes);
      const checkSeconds = await timeProcess(bareChecks(LAYERS * LAYER_BYTES));
      if (round === 0) {
        firstSeconds = unlockSeconds;
        continue;
      }
      whole.load.push(loadSeconds);
      whole.unlock.push(unlockSeconds);
      whole.checks.push(checkSeconds);
    }
    await engine.clear();
    const loadCosts = await engine.costsOfLoad(first);
    await engine.clear();
    const unlockCosts = await engine.costsOf(unlock);
    await engine.clear();
    const found = await searching(roots, unlock);

    await publish(bench, second);
    const onlyFirst = async (): Promise<void> => {
      await engine.clear();
      await engine.load(first).ended;
    };
    const changed = { unlock: [] as number[], load: [] as number[] };
    for (let round = 0; round <= ROUNDS; round++) {
      await onlyFirst();
      const loadSeconds = await timed(() => engine.load(second).ended);
      await onlyFirst();
      const unlockSeconds = await timed(unlock);
      if (round === 0) continue;
      changed.load.push(loadSeconds);
      changed.unlock.push(unlockSeconds);
    }
    await onlyFirst();
    const changedLoadCosts = await engine.costsOfLoad(second);
    await onlyFirst();
    const changedUnlockCosts = await engine.costsOf(unlock);

    const loadSeconds = median(whole.load);
    const unlockSeconds = median(whole.unlock);
    const changedSeconds = median(changed.unlock);
    const checkSeconds = median(whole.checks);
    return [
      {
        id: 'P8',
        bar: 'unlock of 600 MB ≤ 1.15 × docker load of the plain tar',
        value: unlockSeconds / loadSeconds,
        unit: '× docker load',
        limit: 1.15,
        direction: 'max',
        peers: {
          'unlock s': rounded(unlockSeconds),
          'the first unlock of the Loader s': rounded(firstSeconds),
          'docker load s': rounded(loadSeconds),
          ...costsBeside(unlockCosts, loadCosts),
          'Loader: peak memory above idle MB': megabytes(memoryBytes),
        },
      },
      besideFloor('P8', 'unlock of 600 MB', 'docker load', {
        ours: unlockSeconds,
        peer: loadSeconds,
        checks: checkSeconds,
      }),
      {
        id: 'P8',
        bar: 'one of six layers changed ≤ 0.3 × docker load of the plain tar (aim)',
        value: changedSeconds / loadSeconds,
        unit: '× docker load',
        limit: 0.3,
        direction: 'max',
        peers: {
          'unlock s': rounded(changedSeconds),
          'docker load with the other layers there s': rounded(median(changed.load)),
          ...costsBeside(changedUnlockCosts, changedLoadCosts),
        },
      },
      {
        id: 'P8',
        bar: 'files with plaintext under data, temporary and engine-exec roots, during and after: none',
        value: found.searches > 0 ? found.files.length : NaN,
        unit: 'files',
        limit: 0,
        direction: 'max',
        peers: { searches: found.searches, ...(found.files[0] === undefined ? {} : { first: found.files[0] }) },
      },
    ];
  } finally {
    await bench.stop();
    await docker.stop();
    await temporary.remove();
  }
}

async function writeArchive(path: string, seeds: readonly string[]): Promise<string> {
  const layers = seeds.map((seed): GeneratedLayer => {
    return { seed, sizeBytes: LAYER_BYTES, files: { 'marker.txt': Buffer.from(`${MARKER} ${seed}`) } };
  });
  const archive = await imageArchive([{ name: REFERENCE, layers }]);
  await pipeline(archive.open(), createWriteStream(path));
  return path;
}

/** Publishes an archive and puts its packs where the device finds them, as a factory would. */
async function publish(bench: BenchSystem, path: string): Promise<void> {
  const { system } = bench;
  await bench.publish(path, 'azaion-latest', 'images', '--kind', 'images');
  const packs = join(system.imagesDir, 'packs');
  await mkdir(packs, { recursive: true });
  await cp(join(system.adminDataDir, 'objects', 'packs'), packs, { recursive: true });
}

/** Unlocks for an operator who is logged in, from the call to the state "ready". */
async function unlocked(system: StartedSystem, token: string): Promise<void> {
  await postJson(`${system.loaderUrl}/unlock`, {}, token);
  for (;;) {
    const response = await fetch(`${system.loaderUrl}/unlock/status`);
    const status = (await response.json()) as { state: string; error: string | null };
    if (status.state === 'ready') return;
    if (status.state === 'error') throw new Error(`The unlock ended with ${String(status.error)}.`);
    await delay(STATUS_POLL_MS);
  }
}

/** The engine as both ways of loading use it. */
interface MeasuredEngine {
  /** Takes all images away. */
  clear(): Promise<void>;
  /** Notes what engine and Loader hold before they have done anything. */
  rest(): Promise<void>;
  load(path: string): { readonly pid: number | undefined; readonly ended: Promise<unknown> };
  costsOfLoad(path: string): Promise<Costs>;
  /** Of what the Loader lets the engine do. Looking at it slows it: time is taken apart from this. */
  costsOf(work: () => Promise<unknown>): Promise<Costs>;
}

/** @param loaderPid - Of the Loader that runs now. */
function engineOf(docker: DockerDaemon, loaderPid: () => number): MeasuredEngine {
  const cli = (...args: string[]): PromiseWithChild<{ stdout: string }> =>
    run('docker', args, { env: { ...process.env, DOCKER_HOST: docker.dockerHost } });
  const idle = new Map<number, number>();
  const idleBytesOf = async (pid: number): Promise<number> => {
    // What a round before has left in it counts for the next one, too.
    const known = idle.get(pid) ?? (await processTreeMemory(pid)).residentBytes;
    idle.set(pid, known);
    return known;
  };
  const load: MeasuredEngine['load'] = (path) => {
    const loading = cli('load', '--input', path);
    return { pid: loading.child.pid, ended: loading };
  };
  const costsOf = async (pids: readonly number[], work: () => Promise<unknown>): Promise<Costs> => {
    let idleBytes = 0;
    for (const pid of pids) {
      idleBytes += await idleBytesOf(pid);
      await forgetPeakMemory(pid);
    }
    const working = new AbortController();
    let [diskBytes, peakBytes] = [0, idleBytes];
    const sampling = (async () => {
      while (!working.signal.aborted) {
        diskBytes = Math.max(diskBytes, await usedBytes(docker.dataRoot));
        // Processes that come and go meanwhile count while they are there.
        peakBytes = Math.max(peakBytes, await peakMemory(pids));
        await delay(SAMPLE_MS);
      }
    })();
    await work();
    working.abort();
    await sampling;
    return { diskBytes, memoryBytes: peakBytes - idleBytes };
  };
  return {
    load,
    rest: async () => {
      for (const pid of [docker.pid, loaderPid()]) await idleBytesOf(pid);
    },
    costsOf: (work) => costsOf([docker.pid, loaderPid()], work),
    costsOfLoad: (path) => {
      const pids = [docker.pid];
      return costsOf(pids, () => {
        const { pid, ended } = load(path);
        if (pid !== undefined) pids.push(pid);
        return ended;
      });
    },
    clear: async () => {
      const { stdout } = await cli('image', 'ls', '--all', '--quiet', '--no-trunc');
      const ids = [...new Set(stdout.split('\n').filter((id) => id !== ''))];
      if (ids.length > 0) await cli('image', 'rm', '--force', ...ids);
    },
  };
}

/** Of process trees together; who is gone counts no more. */
async function peakMemory(pids: readonly number[]): Promise<number> {
  const trees = await Promise.all(pids.map((pid) => processTreeMemory(pid).catch(() => ({ peakBytes: 0 }))));
  return trees.reduce((sum, { peakBytes }) => sum + peakBytes, 0);
}

/** Files come and go while they are counted: what is gone does not count. */
async function usedBytes(directory: string): Promise<number> {
  const { stdout } = await run('du', ['-s', '--block-size=1', directory]).catch(
    (error: unknown) => error as { stdout: string },
  );
  return Number(/^\d+/.exec(stdout)?.[0] ?? 0);
}

/** Looks for the marker in every file, again and again while something works, and once after it. */
async function searching(
  roots: readonly string[],
  work: () => Promise<unknown>,
): Promise<{ readonly files: readonly string[]; readonly searches: number }> {
  const files = new Set<string>();
  let searches = 0;
  const working = new AbortController();
  const search = async (): Promise<void> => {
    // grep ends with 1 when it finds nothing, and with 2 when a file goes away under its hands.
    const { stdout } = await run('grep', ['-rlF', '--devices=skip', MARKER, ...roots]).catch(
      (error: unknown) => error as { stdout: string },
    );
    for (const file of stdout.split('\n')) if (file !== '') files.add(file);
    searches += 1;
  };
  const watching = (async () => {
    while (!working.signal.aborted) await search();
  })();
  await work();
  working.abort();
  await watching;
  await search();
  return { files: [...files], searches };
}

/** In seconds, on a disk that has come to rest. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  await run('sync', []);
  const begin = performance.now();
  await work();
  return (performance.now() - begin) / 1000;
}

function costsBeside(unlock: Costs, load: Costs): Readonly<Record<string, number>> {
  return {
    'unlock: peak storage MB': megabytes(unlock.diskBytes),
    'docker load: peak storage MB': megabytes(load.diskBytes),
    'unlock: peak memory of Loader, CLI and engine above idle MB': megabytes(unlock.memoryBytes),
    'docker load: peak memory of CLI and engine above idle MB': megabytes(load.memoryBytes),
  };
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 1e6);
}
