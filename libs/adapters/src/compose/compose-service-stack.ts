import { dirname } from 'node:path';

import { canonicalReference, type EngineImage, orAborted, pause, ServiceStack, UnlockError } from '@azaion/unlock';

import { type CliResult, ContainerCli } from '../docker-cli/index.js';

const POLL_MS = 500;
/** A service without a health check counts as healthy when it has run for so long. */
const SETTLED_MS = 5000;
const MAX_SERVICES = 256;
const CONTAINER_ID = /^[0-9a-f]{12,64}$/;

/** A set of services and the commands that drive them. */
export interface ComposeOptions {
  /** The compose file; relative paths in it start at its directory. */
  readonly file: string;
  /** `docker compose` (the plugin) or `docker-compose`, word by word. */
  readonly compose: readonly string[];
  /** Client of the engine that the services run in. */
  readonly containerCli: string;
  /** Added to the environment of both, for example `DOCKER_HOST`. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default 5 s. */
  readonly settledMs?: number;
  /** How long compose and the engine may take for one answer; default: as long as the services may take to become healthy. */
  readonly answerTimeoutMs?: number;
}

/**
 * Services of a compose file. The compose file reads the tag of its images from `API_VERSION` where they all have one. Tried with
 * docker-compose 1.29.
 */
export class ComposeServiceStack extends ServiceStack {
  private readonly engine: ContainerCli;

  constructor(private readonly options: ComposeOptions) {
    super();
    this.engine = new ContainerCli({ command: options.containerCli, ...(options.env && { env: options.env }) });
  }

  override async up(images: readonly EngineImage[], healthTimeoutMs: number, signal: AbortSignal): Promise<void> {
    const containers = await inTime(this.patienceMs(healthTimeoutMs), signal, (either) => this.started(images, either));
    await this.untilHealthy(containers, healthTimeoutMs, signal);
  }

  private patienceMs(healthTimeoutMs: number): number {
    return this.options.answerTimeoutMs ?? healthTimeoutMs;
  }

  private async started(images: readonly EngineImage[], signal: AbortSignal): Promise<readonly string[]> {
    const compose = this.composeFor(images);
    await this.run(compose, ['up', '--detach', '--remove-orphans', '--no-build'], signal);
    const listed = await this.run(compose, ['ps', '--quiet'], signal);
    const containers = listed.stdout.split('\n').filter((line) => CONTAINER_ID.test(line));
    if (containers.length === 0 || containers.length > MAX_SERVICES)
      throw failed(listed, 'The compose file starts no service, or too many.');
    return containers;
  }

  private async untilHealthy(containers: readonly string[], timeoutMs: number, signal: AbortSignal): Promise<void> {
    const { settledMs = SETTLED_MS } = this.options;
    const beganMs = performance.now();
    // A service that is started again and again runs whenever it is looked at: what counts is one start that lasts.
    const starts = new Map<string, { readonly startedAt: string | undefined; readonly seenMs: number }>();
    for (;;) {
      const services = await inTime(this.patienceMs(timeoutMs), signal, (either) => this.inspect(containers, either));
      const nowMs = performance.now();
      const sick = services.find(({ state }) => hasFailed(state));
      if (sick !== undefined) throw unhealthy(sick.name);
      const waiting = services.find(({ name, state }) => {
        const known = starts.get(name);
        const start =
          known !== undefined && known.startedAt === state.StartedAt
            ? known
            : { startedAt: state.StartedAt, seenMs: nowMs };
        starts.set(name, start);
        return !isHealthy(state, nowMs - start.seenMs >= settledMs);
      });
      if (waiting === undefined) return;
      if (nowMs - beganMs >= timeoutMs) throw unhealthy(waiting.name);
      await pause(POLL_MS, signal);
    }
  }

  private async inspect(containers: readonly string[], signal: AbortSignal): Promise<readonly Service[]> {
    const format = '{{json .State}} {{.Name}}';
    const result = await this.engine.run(['container', 'inspect', '--format', format, ...containers], signal);
    const lines = result.stdout.split('\n').filter((line) => line !== '');
    // A container that has gone meanwhile is a service that does not run.
    if (result.exitCode !== 0 || lines.length !== containers.length) throw failed(result);
    return lines.map((line) => {
      const end = line.lastIndexOf(' ');
      return { state: JSON.parse(line.slice(0, end)) as ContainerState, name: line.slice(end + 1).replace(/^\//, '') };
    });
  }

  private composeFor(images: readonly EngineImage[]): ContainerCli {
    const [command = '', ...before] = this.options.compose;
    const tags = new Set(images.map(({ reference }) => canonicalReference(reference).replace(/^.*:/, '')));
    const [tag] = tags;
    const version = tags.size === 1 && tag !== undefined ? { API_VERSION: tag } : {};
    return new ContainerCli({ command, globalArguments: before, env: { ...this.options.env, ...version } });
  }

  private async run(compose: ContainerCli, args: readonly string[], signal: AbortSignal): Promise<CliResult> {
    const { file } = this.options;
    let result: CliResult;
    try {
      result = await compose.run(['--file', file, '--project-directory', dirname(file), ...args], signal);
    } catch (cause) {
      if (!(cause instanceof UnlockError)) throw cause;
      throw new UnlockError(
        'unlock.services-failed',
        'Compose could not be started. Install it, or name its command with COMPOSE_CLI.',
        { cause },
      );
    }
    if (result.exitCode !== 0) throw failed(result);
    return result;
  }
}

interface ContainerState {
  readonly Status?: string;
  readonly ExitCode?: number;
  readonly StartedAt?: string;
  readonly Health?: { readonly Status?: string };
}

interface Service {
  readonly name: string;
  readonly state: ContainerState;
}

/** A service that has ended well has done what it was for. */
function isHealthy({ Status: status, ExitCode: exitCode, Health: health }: ContainerState, settled: boolean): boolean {
  if (status === 'exited') return exitCode === 0;
  if (status !== 'running') return false;
  return health?.Status === undefined || health.Status === 'none' ? settled : health.Status === 'healthy';
}

function hasFailed({ Status: status, ExitCode: exitCode, Health: health }: ContainerState): boolean {
  return health?.Status === 'unhealthy' || status === 'dead' || (status === 'exited' && exitCode !== 0);
}

/** Compose and the engine behind it may hang. */
async function inTime<T>(
  timeoutMs: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(stuck()), timeoutMs);
  const either = AbortSignal.any([signal, late.signal]);
  try {
    return await orAborted(work(either), either);
  } finally {
    clearTimeout(timer);
  }
}

function stuck(): UnlockError {
  return new UnlockError(
    'unlock.services-failed',
    'Compose or the container engine did not answer in time while the services were started. Restart the engine, then start the unlock again.',
  );
}

function unhealthy(service: string): UnlockError {
  return new UnlockError(
    'unlock.services-unhealthy',
    'A service did not become healthy with the new images. Look at its log, and publish images that work.',
    { details: { service } },
  );
}

function failed(result: CliResult, message?: string): UnlockError {
  const output = `${result.stdout}\n${result.stderr}`.trim().slice(-2000);
  return new UnlockError(
    'unlock.services-failed',
    message ?? 'The services could not be started. Check the compose file and the container engine.',
    { cause: new Error(`compose ended with ${String(result.exitCode)}: ${output}`) },
  );
}
