import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { processTreeMemory, type TreeMemory } from './process-memory.js';

/** How a process is known to be ready: a line it prints, or a question that answers `true` (asked again every 50 ms). */
export type Readiness = RegExp | (() => boolean | Promise<boolean>);

/** What to start, and when it counts as started. */
export interface ProcessOptions {
  readonly command: string;
  readonly args?: readonly string[];
  readonly cwd?: string;
  /** Added to this process's own environment; `undefined` takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Without it the process counts as ready once it was spawned. */
  readonly ready?: Readiness;
  /** Time until it must be ready. */
  readonly readyTimeoutMs?: number;
  /** Time between SIGTERM and SIGKILL in `stop`. */
  readonly stopTimeoutMs?: number;
}

/** How a process ended: exactly one of the two is set. */
export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A process that was started by `startProcess`. */
export interface RunningProcess {
  readonly pid: number;
  /** Everything it has printed so far, standard output and error in order of arrival; the last 4 MiB. */
  output(): string;
  /** Settles when it has ended. */
  readonly ended: Promise<ProcessEnd>;
  /** Memory of it and its children now and at most. */
  memory(): Promise<TreeMemory>;
  /** Sends a signal. */
  kill(signal: NodeJS.Signals): void;
  /** SIGTERM, then SIGKILL when it has not ended in time. May be called again, also after it has ended. */
  stop(): Promise<ProcessEnd>;
}

const KEPT_OUTPUT_CHARACTERS = 4 * 1024 * 1024;
const PIPE_GRACE_MS = 500;
const live = new Set<ChildProcess>();
let sweeps = false;

/**
 * Starts a process and waits until it is ready.
 *
 * @throws Error with the end of its output when it ends first or is not ready in time; it is stopped then.
 */
export async function startProcess(options: ProcessOptions): Promise<RunningProcess> {
  const { command, args = [], ready, readyTimeoutMs = 60_000, stopTimeoutMs = 10_000 } = options;
  const child = spawn(command, args, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  const collect = (piece: string): void => {
    text = (text + piece).slice(-KEPT_OUTPUT_CHARACTERS);
  };
  child.stdout.setEncoding('utf8').on('data', collect);
  child.stderr.setEncoding('utf8').on('data', collect);
  const ended = new Promise<ProcessEnd>((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal }));
    // A child of its own that outlives it keeps the pipes open: what it printed itself has arrived long before.
    child.once('exit', () => setTimeout(closePipes, PIPE_GRACE_MS).unref());
  });
  const closePipes = (): void => {
    child.stdout.destroy();
    child.stderr.destroy();
  };
  await once(child, 'spawn').catch((cause: unknown) => {
    throw new Error(`${command} could not be started.`, { cause });
  });
  killWithThisProcess(child);

  const stop = async (): Promise<ProcessEnd> => {
    child.kill('SIGTERM');
    const patience = new AbortController();
    const killer = delay(stopTimeoutMs, undefined, { signal: patience.signal }).then(
      () => child.kill('SIGKILL'),
      () => false,
    );
    const end = await ended;
    patience.abort();
    await killer;
    return end;
  };
  const failure = (what: string): Error => new Error(`${command} ${what}. Its output ends with:\n${text.slice(-4000)}`);

  let end: ProcessEnd | undefined;
  void ended.then((value) => (end = value));
  const deadlineMs = performance.now() + readyTimeoutMs;
  while (!(await isReady(ready, text))) {
    if (end !== undefined) throw failure(`ended with ${end.signal ?? `status ${end.code ?? 'unknown'}`}`);
    if (performance.now() > deadlineMs) {
      await stop();
      throw failure(`was not ready after ${readyTimeoutMs} ms`);
    }
    await delay(50);
  }

  return {
    pid: child.pid!,
    output: () => text,
    ended,
    memory: () => processTreeMemory(child.pid!),
    kill: (signal) => void child.kill(signal),
    stop,
  };
}

/** Readiness by HTTP: `true` once a GET of the URL is answered with one of the statuses (200 by default). */
export function answersHttp(url: string, statuses: readonly number[] = [200]): () => Promise<boolean> {
  return async () => {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
      await response.body?.cancel();
      return statuses.includes(response.status);
    } catch {
      return false;
    }
  };
}

async function isReady(ready: Readiness | undefined, output: string): Promise<boolean> {
  if (ready === undefined) return true;
  return ready instanceof RegExp ? ready.test(output) : ready();
}

/** A test runner that is interrupted must not leave daemons behind. */
function killWithThisProcess(child: ChildProcess): void {
  live.add(child);
  child.once('close', () => live.delete(child));
  if (sweeps) return;
  sweeps = true;
  process.once('exit', () => {
    for (const orphan of live) orphan.kill('SIGKILL');
  });
}
