import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { WORKSPACE } from '../started-service.js';
import { postJson, startSystem, type StartedSystem } from '../e2e/started-system.js';

const CLI = join(WORKSPACE, 'apps', 'cli', 'dist', 'main.js');
const run = promisify(execFile);

/** A running system with a publisher who is logged in, and a directory for inputs and outputs. */
export interface BenchSystem {
  readonly system: StartedSystem;
  readonly directory: TempDirectory;
  /** Access token of the publisher, for 15 minutes. */
  readonly token: string;
  /** Where the CDN's packs lie. */
  readonly packsDirectory: string;
  /** Runs `azaion … --json` as the publisher. */
  azaion(...args: string[]): Promise<Readonly<Record<string, number>>>;
  stop(): Promise<void>;
}

/** Starts the built services with a file store. */
export async function startBenchSystem(): Promise<BenchSystem> {
  const directory = await tempDirectory('azaion-bench');
  const system = await startSystem();
  const publisher = await system.createPerson('ResourceUploader');
  const { access_token: token } = await postJson<{ access_token: string }>(`${system.adminUrl}/login`, publisher);
  const azaion = async (...args: string[]): Promise<Readonly<Record<string, number>>> => {
    const { stdout } = await run(process.execPath, [CLI, ...args, '--json'], {
      env: { ...process.env, AZAION_PROFILE: join(directory.path, 'profile'), AZAION_PASSWORD: publisher.password },
    });
    return JSON.parse(stdout) as Record<string, number>;
  };
  await azaion('login', '--api', system.adminUrl, '--email', publisher.email);
  return {
    system,
    directory,
    token,
    packsDirectory: join(system.adminDataDir, 'objects'),
    azaion,
    stop: async () => {
      await system.stop();
      await directory.remove();
    },
  };
}
