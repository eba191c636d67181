import { spawn } from 'node:child_process';
import { access, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { responseCode, type ToolFailure, tpmError } from './tpm-failure.js';

const MAX_OUTPUT_BYTES = 64 * 1024;
const ATTEMPTS = 3;
const RETRY_MS = 50;
/** Answers after which the same command is worth another attempt: yielded, testing, retry. */
const AGAIN = new Set([0x908, 0x90a, 0x922]);
const SESSION = 'session.ctx';

/** How the TPM is reached. */
export interface TpmAccess {
  /** Address as tpm2-tools read it: `device:/dev/tpmrm0`, `swtpm:path=…`, `tabrmd`. */
  readonly tcti: string;
  /** Time for one command. */
  readonly timeoutMs: number;
}

/** One after the other, however many objects of this process speak to the same TPM. */
const queues = new Map<string, Promise<unknown>>();

/**
 * Speaks to a TPM through the tpm2-tools: argument vectors only, no shell, no secret on a command line. A TPM has room for three objects
 * and three sessions: whoever works with it does so in {@link exclusive}, which puts everything away afterwards, also after failures.
 */
export class TpmTools {
  constructor(
    private readonly options: TpmAccess,
    /** Directory of this process's own for contexts, sessions, inputs and outputs: commands run in it. */
    readonly directory: string,
  ) {}

  /**
   * Runs one command.
   *
   * @returns What it printed to standard output.
   * @throws IdentityError `device.tpm-absent` | `device.tpm-busy` | `device.tpm-lockout` | `device.tpm-policy` | `device.tpm-foreign` | `device.tpm-failed`.
   */
  async run(command: string, args: readonly string[] = []): Promise<string> {
    for (let attempt = 1; ; attempt += 1) {
      const outcome = await this.attempt(command, args);
      if (typeof outcome === 'string') return outcome;
      const code = responseCode(outcome.stderr);
      if (attempt >= ATTEMPTS || code === undefined || !AGAIN.has(code)) throw tpmError(outcome);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS * attempt));
    }
  }

  /** Runs work that nobody else's commands come between, then takes its objects and sessions out of the TPM. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    const before = queues.get(this.options.tcti) ?? Promise.resolve();
    const run = before.then(async () => {
      try {
        return await work();
      } finally {
        await this.tidy();
      }
    });
    const settled = run.catch(() => undefined);
    queues.set(this.options.tcti, settled);
    void settled.then(() => {
      if (queues.get(this.options.tcti) === settled) queues.delete(this.options.tcti);
    });
    return run;
  }

  /** Opens the one policy session of a piece of work. @returns The file that names it. */
  async openSession(): Promise<string> {
    await this.run('startauthsession', ['--policy-session', '-S', SESSION]);
    return SESSION;
  }

  /** Takes what is loaded out of the TPM. What it cannot do is left to the next time: the work's own outcome counts. */
  async tidy(): Promise<void> {
    const session = join(this.directory, SESSION);
    const left = await access(session).then(
      () => true,
      () => false,
    );
    // A session that its command left loaded is refused here and goes with "loaded-session" below.
    if (left) {
      await this.attempt('flushcontext', [SESSION]);
      await rm(session, { force: true });
    }
    if (this.hasResourceManager) return; // it did so at the end of each command
    await this.attempt('flushcontext', ['--transient-object']);
    await this.attempt('flushcontext', ['--loaded-session']);
  }

  /** Whether somebody else keeps the processes' objects apart. Without one, everything in the TPM is taken to be ours. */
  private get hasResourceManager(): boolean {
    return /^(?:tabrmd|device:\/dev\/tpmrm)/.test(this.options.tcti);
  }

  private attempt(command: string, args: readonly string[]): Promise<string | ToolFailure> {
    return new Promise((resolve) => {
      const child = spawn('tpm2', [command, ...args], {
        cwd: this.directory,
        env: {
          PATH: process.env['PATH'] ?? '/usr/bin',
          LC_ALL: 'C',
          TPM2TOOLS_TCTI: this.options.tcti,
          TSS2_LOGFILE: 'stderr',
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let [stdout, stderr, timedOut] = ['', '', false];
      child.stdout
        .setEncoding('utf8')
        .on('data', (text: string) => (stdout = (stdout + text).slice(-MAX_OUTPUT_BYTES)));
      child.stderr
        .setEncoding('utf8')
        .on('data', (text: string) => (stderr = (stderr + text).slice(-MAX_OUTPUT_BYTES)));
      const patience = setTimeout(() => {
        timedOut = true;
        child.kill('SIGKILL');
      }, this.options.timeoutMs);
      child.once('error', (error: NodeJS.ErrnoException) => {
        clearTimeout(patience);
        resolve({ command, stderr, timedOut, spawnCode: error.code ?? 'unknown' });
      });
      child.once('close', (exitCode) => {
        clearTimeout(patience);
        resolve(exitCode === 0 ? stdout : { command, stderr, timedOut });
      });
    });
  }
}
