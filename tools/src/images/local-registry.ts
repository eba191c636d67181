import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import {
  freePort,
  type RunningProcess,
  runCommand,
  startProcess,
  type TempDirectory,
  tempDirectory,
} from '@azaion/testing';

/** A registry of containers that asks for a password. */
export interface LocalRegistry {
  /** Host and port, as in the name of an image. */
  readonly host: string;
  readonly user: string;
  readonly password: string;
  stop(): Promise<void>;
}

/** Starts Debian's registry on loopback, where engines speak to it without TLS. */
export async function startRegistry(): Promise<LocalRegistry> {
  const directory: TempDirectory = await tempDirectory('azaion-registry');
  const [user, password] = ['pipeline', 'correct-horse-battery'];
  const host = `127.0.0.1:${await freePort()}`;
  const passwords = join(directory.path, 'htpasswd');
  await writeFile(passwords, await runCommand('htpasswd', ['-Bbn', user, password]));
  const configuration = {
    version: 0.1,
    log: { level: 'warn' },
    storage: { filesystem: { rootdirectory: join(directory.path, 'store') } },
    auth: { htpasswd: { realm: 'azaion', path: passwords } },
    http: { addr: host },
  };
  // JSON is YAML.
  await writeFile(join(directory.path, 'config.yml'), JSON.stringify(configuration));
  const running: RunningProcess = await startProcess({
    command: 'docker-registry',
    args: ['serve', join(directory.path, 'config.yml')],
    ready: () =>
      fetch(`http://${host}/v2/`).then(
        ({ status }) => status === 401,
        () => false,
      ),
  });
  return {
    host,
    user,
    password,
    stop: async () => {
      await running.stop();
      await directory.remove();
    },
  };
}
