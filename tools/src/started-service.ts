import { join } from 'node:path';

import { answersHttp, type RunningProcess, startProcess } from '@azaion/testing';

import { settingAndFileNames } from './docs/workspace-configuration.js';

/** Root of the workspace, from `tools/dist` and `tools/src`. */
export const WORKSPACE = join(import.meta.dirname, '..', '..');

/** The workspace's own: an older one would start it as a second process, and a signal would reach the first alone. */
const NODE = join(WORKSPACE, 'node_modules', 'node', 'bin', 'node');
const READY_TIMEOUT_MS = 120_000;

/** One of the built services. */
export interface ServiceToStart {
  readonly app: 'admin-api' | 'loader';
  /** Where its health is asked for. */
  readonly url: string;
  /** Its settings: the only ones it sees, whatever the shell of whoever started it has. */
  readonly env: Readonly<Record<string, string>>;
  /** What is waited for; default `ready`. */
  readonly until?: 'live' | 'ready';
}

/** Starts what `npm run build` made as a process of its own, and waits until it is ready. */
export function startService({ app, url, env, until = 'ready' }: ServiceToStart): Promise<RunningProcess> {
  return startProcess({
    command: NODE,
    args: [join(WORKSPACE, 'apps', app, 'dist', 'main.js')],
    cwd: WORKSPACE,
    env: { ...hiddenSettings(), NODE_OPTIONS: undefined, ...env },
    ready: answersHttp(`${url}/health/${until}`),
    readyTimeoutMs: READY_TIMEOUT_MS,
  });
}

/** Every setting that either service knows, taken away. */
function hiddenSettings(): Record<string, undefined> {
  return Object.fromEntries(settingAndFileNames(WORKSPACE).map((name) => [name, undefined]));
}
