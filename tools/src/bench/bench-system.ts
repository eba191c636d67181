import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { WORKSPACE } from '../started-service.js';
import { outputOf, type TimedCommand } from './timed-process.js';
import { postJson, startSystem, type StartedSystem, type SystemOptions } from '../e2e/started-system.js';

const CLI = join(WORKSPACE, 'apps', 'cli', 'dist', 'main.js');
/** Tokens are asked for anew well before their 15 minutes are over. */
const TOKEN_LIFE_MS = 8 * 60_000;
const VERIFIED_POLL_MS = 500;

/** Path of the compiled entry of a process that benchmarks start. */
export function compiled(name: string): string {
  return join(WORKSPACE, 'tools', 'dist', 'bench', `${name}.js`);
}

/** A running system with a publisher who is logged in, and a directory for inputs and outputs. */
export interface BenchSystem {
  readonly system: StartedSystem;
  readonly directory: TempDirectory;
  /** An access token of the publisher that is good for minutes. */
  token(): Promise<string>;
  /** Where the CDN's packs lie. */
  readonly packsDirectory: string;
  /** Runs `azaion … --json` as the publisher. */
  azaion(...args: string[]): Promise<Readonly<Record<string, number>>>;
  /** Publishes a file and waits until the verifier, which takes half a core, has passed it: it is no part of what is measured. */
  publish(path: string, name: string, folder?: string, ...more: string[]): Promise<void>;
  /** Waits until the verifier has passed every version of a resource. @throws Error for one that is bad. */
  verified(name: string, folder?: string): Promise<void>;
  /** A command of the publisher's, for those who watch its process. */
  command(...args: string[]): TimedCommand;
  stop(): Promise<void>;
}

/** Starts the built services, with a file store unless the options say otherwise. */
export async function startBenchSystem(options: SystemOptions = {}): Promise<BenchSystem> {
  const directory = await tempDirectory('azaion-bench');
  const system = await startSystem(options);
  const publisher = await system.createPerson('ResourceUploader');
  const token = keptToken(async () => {
    const answer = await postJson<{ access_token: string }>(`${system.adminUrl}/login`, publisher);
    return answer.access_token;
  });
  const env = { AZAION_PROFILE: join(directory.path, 'profile'), AZAION_PASSWORD: publisher.password };
  const command = (...args: string[]): TimedCommand => ({
    command: process.execPath,
    args: [CLI, ...args, '--json'],
    env,
  });
  const azaion = async (...args: string[]): Promise<Readonly<Record<string, number>>> =>
    JSON.parse(await outputOf(command(...args))) as Record<string, number>;
  const publish = async (path: string, name: string, folder = 'models', ...more: string[]): Promise<void> => {
    await azaion('publish', path, '--name', name, '--folder', folder, ...more);
    await verified(name, folder);
  };
  const verified = async (name: string, folder = 'models'): Promise<void> => {
    const url = `${system.adminUrl}/sealed/${folder}/${name}`;
    for (;;) {
      const answer = await fetch(url, { headers: { authorization: `Bearer ${await token()}` } });
      const { versions } = (await answer.json()) as { versions: readonly { verification: string }[] };
      if (versions.every(({ verification }) => verification === 'verified')) return;
      if (versions.some(({ verification }) => verification === 'bad')) throw new Error(`${name} was published badly.`);
      await delay(VERIFIED_POLL_MS);
    }
  };
  await azaion('login', '--api', system.adminUrl, '--email', publisher.email);
  return {
    system,
    directory,
    token,
    packsDirectory: join(system.adminDataDir, 'objects'),
    azaion,
    publish,
    verified,
    command,
    stop: async () => {
      await system.stop();
      await directory.remove();
    },
  };
}

function keptToken(ask: () => Promise<string>): () => Promise<string> {
  let token = '';
  let askedAtMs = -Infinity;
  return async () => {
    if (performance.now() - askedAtMs > TOKEN_LIFE_MS) {
      token = await ask();
      askedAtMs = performance.now();
    }
    return token;
  };
}
