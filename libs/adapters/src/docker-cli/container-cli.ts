import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Writable } from 'node:stream';

import { UnlockError } from '@azaion/unlock';

const MAX_OUTPUT_BYTES = 64 * 1024;
/** What container CLIs read from their environment; nothing else of this process's environment reaches them. */
const PASSED_ON = [
  'PATH',
  'HOME',
  'TMPDIR',
  'XDG_RUNTIME_DIR',
  'XDG_CONFIG_HOME',
  'XDG_DATA_HOME',
  'DOCKER_HOST',
  'DOCKER_CONTEXT',
  'DOCKER_CONFIG',
  'DOCKER_CERT_PATH',
  'DOCKER_TLS_VERIFY',
  'CONTAINER_HOST',
  'CONTAINERS_CONF',
  'CONTAINERS_STORAGE_CONF',
  'CONTAINERD_ADDRESS',
  'CONTAINERD_NAMESPACE',
] as const;

/** How a container CLI is called. */
export interface ContainerCliOptions {
  /** `docker`, or a command that takes the same arguments, such as `podman` or `nerdctl`. */
  readonly command: string;
  /** Arguments before every subcommand, for example a storage root. */
  readonly globalArguments?: readonly string[];
  /** Added to what the CLI gets of this process's environment, for example `DOCKER_HOST`. */
  readonly env?: Readonly<Record<string, string>>;
}

/** How a command ended. Texts are cut to their last 64 KiB. */
export interface CliResult {
  /** `null` when a signal ended it. */
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command at work. */
export interface CliProcess {
  readonly stdin: Writable;
  /** Rejects with an UnlockError when the command could not be started at all. */
  readonly ended: Promise<CliResult>;
  /** Ends it and whatever it has started, at once: its peer sees a broken connection, never a normal end. */
  kill(): void;
}

/** Starts commands of a container CLI: argument vectors only, no shell. */
export class ContainerCli {
  constructor(private readonly options: ContainerCliOptions) {}

  get command(): string {
    return this.options.command;
  }

  /** Starts a command; an abort of `signal` kills it with all its processes. @param env - Added to its environment. */
  start(args: readonly string[], signal: AbortSignal, env: Readonly<Record<string, string>> = {}): CliProcess {
    const child = spawn(this.options.command, [...(this.options.globalArguments ?? []), ...args], {
      env: { ...this.environment(), ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
      windowsHide: true,
      // A process group of its own: plugins and helpers of a CLI are other processes, and must not go on feeding the engine, or hold a pipe.
      detached: true,
    });
    const kill = (): void => {
      killGroup(child);
      // A process that has left the group may hold them still: nobody waits for what it prints.
      child.stdout.destroy();
      child.stderr.destroy();
    };
    // A command that ends before it has read everything is reported by its exit, not by its pipe.
    child.stdin.on('error', () => undefined);
    // A command that could not be started rejects "ended"; one that could not be killed has nobody to be reported to.
    child.on('error', () => undefined);
    const stdout = tail(child.stdout);
    const stderr = tail(child.stderr);
    const ended = once(child, 'close').then(
      ([exitCode]) => ({ exitCode: exitCode as number | null, stdout: stdout(), stderr: stderr() }),
      (cause: unknown) => {
        throw this.startError(cause);
      },
    );
    ended.catch(() => undefined);
    if (signal.aborted) kill();
    else {
      signal.addEventListener('abort', kill, { once: true });
      child.once('close', () => signal.removeEventListener('abort', kill));
    }
    return { stdin: child.stdin, ended, kill };
  }

  /** Runs a command that needs no input. @throws the signal's reason after an abort. */
  async run(args: readonly string[], signal: AbortSignal): Promise<CliResult> {
    const process = this.start(args, signal);
    process.stdin.end();
    const result = await process.ended;
    signal.throwIfAborted();
    return result;
  }

  private environment(): Record<string, string> {
    const own = PASSED_ON.flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value] as const];
    });
    // Messages are recognised by their English wording.
    return { ...Object.fromEntries(own), LC_ALL: 'C', ...this.options.env };
  }

  private startError(cause: unknown): UnlockError {
    const code = (cause as NodeJS.ErrnoException).code;
    return code === 'EACCES' || code === 'EPERM'
      ? new UnlockError('unlock.engine-forbidden', 'This process may not run the container CLI.', { cause })
      : new UnlockError(
          'unlock.engine-not-installed',
          'The container CLI could not be started. Install it, or name another one with CONTAINER_CLI.',
          { cause },
        );
  }
}

/** Once the command itself has ended its group lives on with the processes that it has left; a group that is empty is no error. Called by
 * whoever aborts: it never throws. */
function killGroup(child: ChildProcess): void {
  const { pid } = child;
  if (pid === undefined) return; // it never started
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    child.kill('SIGKILL'); // the group may be another user's, as with a CLI that changes its user
  }
}

function tail(output: NodeJS.ReadableStream): () => string {
  let kept = Buffer.alloc(0);
  output.on('data', (bytes: Buffer) => {
    kept = Buffer.concat([kept, bytes]).subarray(-MAX_OUTPUT_BYTES);
  });
  return () => kept.toString('utf8');
}
