import { dirname } from 'node:path';

import { canonicalReference, type EngineImage, orAborted, pause, ServiceStack, UnlockError } from '@azaion/unlock';

import { type CliResult, ContainerCli } from '../docker-cli/index.js';

const POLL_MS = 500;
/** A service without a health check counts as healthy when it has run for so long. */
const SETTLED_MS = 5000;
const MAX_SERVICES = 256;
/**
 * Compose would name the project after the directory of the file. Another file in a directory of the same name, such as the Loader's own in
 * `/etc/azaion`, would be the same project, and its containers be taken away as orphans.
 */
const PROJECT = 'azaion-services';
const CONTAINER_ID = /^[0-9a-f]{12,64}$/;
const INSPECTED = '{"id":{{json .Id}},"name":{{json .Name}},"state":{{json .State}},"labels":{{json .Config.Labels}}}';
/** What compose marks the containers of `compose run` with. */
const ONE_OFF = 'com.docker.compose.oneoff';

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
 * Services of a compose file, as the project `azaion-services`. The compose file reads the tag of its images from `API_VERSION` where they all
 * have one. Tried with docker-compose 1.29 and with compose 2.26, docker's plugin; 1.25 is the oldest that has what is asked of it.
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
    const brought = await this.call(compose, ['up', '--detach', '--remove-orphans', '--no-build'], signal);
    if (brought.exitCode !== 0) throw (await this.sickOf(compose, brought, signal)) ?? failed(brought);
    const containers = await this.containersOf(compose, signal);
    if (containers.length === 0 || containers.length > MAX_SERVICES)
      throw failed(brought, 'The compose file starts no service, or too many.');
    return containers.map(({ id }) => id);
  }

  /** Compose itself gives up when a service ends that another one depends on: the service is what has to be looked at then. */
  private async sickOf(
    compose: ContainerCli,
    brought: CliResult,
    signal: AbortSignal,
  ): Promise<UnlockError | undefined> {
    const services = await this.containersOf(compose, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      if (error instanceof UnlockError) return []; // what compose said first counts
      throw error;
    });
    const sick = services.find(({ state }) => hasFailed(state));
    return sick && unhealthy(sick.name, failed(brought).cause);
  }

  /** The containers of the services, whatever has become of them: without `--all`, compose 2 leaves out those that do not run. */
  private async containersOf(compose: ContainerCli, signal: AbortSignal): Promise<readonly Service[]> {
    const listed = await this.call(compose, ['ps', '--all', '--quiet'], signal);
    if (listed.exitCode !== 0) throw failed(listed);
    const ids = listed.stdout.split('\n').filter((line) => CONTAINER_ID.test(line));
    return ids.length === 0 ? [] : (await this.inspect(ids, signal)).filter(({ once }) => !once);
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
    const result = await this.engine.run(['container', 'inspect', '--format', INSPECTED, ...containers], signal);
    const lines = result.stdout.split('\n').filter((line) => line !== '');
    // A container that has gone meanwhile is a service that does not run.
    if (result.exitCode !== 0 || lines.length !== containers.length) throw failed(result);
    return lines.map((line) => {
      const { id, name, state, labels } = JSON.parse(line) as InspectedContainer;
      return { id, name: name.replace(/^\//, ''), state, once: labels?.[ONE_OFF] === 'True' };
    });
  }

  private composeFor(images: readonly EngineImage[]): ContainerCli {
    const [command = '', ...before] = this.options.compose;
    const tags = new Set(images.map(({ reference }) => canonicalReference(reference).replace(/^.*:/, '')));
    const [tag] = tags;
    const version = tags.size === 1 && tag !== undefined ? { API_VERSION: tag } : {};
    return new ContainerCli({ command, globalArguments: before, env: { ...this.options.env, ...version } });
  }

  private async call(compose: ContainerCli, args: readonly string[], signal: AbortSignal): Promise<CliResult> {
    const { file } = this.options;
    try {
      return await compose.run(
        ['--project-name', PROJECT, '--file', file, '--project-directory', dirname(file), ...args],
        signal,
      );
    } catch (cause) {
      if (!(cause instanceof UnlockError)) throw cause;
      throw new UnlockError(
        'unlock.services-failed',
        'Compose could not be started. Install it, or name its command with COMPOSE_CLI.',
        { cause },
      );
    }
  }
}

interface ContainerState {
  readonly Status?: string;
  readonly ExitCode?: number;
  readonly StartedAt?: string;
  readonly Health?: { readonly Status?: string };
}

/** One line of {@link INSPECTED}. */
interface InspectedContainer {
  readonly id: string;
  readonly name: string;
  readonly state: ContainerState;
  readonly labels: Readonly<Record<string, string>> | null;
}

interface Service {
  readonly id: string;
  readonly name: string;
  readonly state: ContainerState;
  /** Somebody ran one command in a container of the service: it says nothing about the service. */
  readonly once: boolean;
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

function unhealthy(service: string, cause?: unknown): UnlockError {
  return new UnlockError(
    'unlock.services-unhealthy',
    'A service did not become healthy with the new images. Look at its log, and publish images that work.',
    { details: { service }, ...(cause !== undefined && { cause }) },
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
