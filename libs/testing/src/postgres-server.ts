import { execFile, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chown, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { findProgram } from './components.js';
import { freePort } from './free-port.js';
import { type RunningProcess, startProcess } from './running-process.js';
import { tempDirectory } from './temp-directory.js';

const run = promisify(execFile);
const USER = 'azaion';

/** A PostgreSQL server of the machine's own release, on loopback. */
export interface PostgresServer {
  /** `postgresql://…` of a superuser, for one of its databases; `postgres` is there from the start. */
  url(database?: string): string;
  /** Runs one of PostgreSQL's client programs (`psql`, `pg_dump`, `createdb` …) against the server. @returns What it printed. @throws Error when it fails. */
  client(program: string, args: readonly string[]): Promise<string>;
  /** Ends the server at once, as a crash does: its clients' connections break. */
  crash(): Promise<void>;
  /** Starts it again on its data, where it recovers first; resolves when it answers. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts Debian's PostgreSQL on data of its own. As root it runs as the user `postgres`, which the package makes. */
export async function startPostgres(): Promise<PostgresServer> {
  const directory = await tempDirectory('azaion-postgres');
  const data = join(directory.path, 'data');
  const password = randomBytes(16).toString('hex');
  const passwordFile = join(directory.path, 'password');
  const port = await freePort();
  const account = process.getuid?.() === 0 ? accountOf('postgres') : undefined;
  await mkdir(data, { mode: 0o700 });
  await writeFile(passwordFile, password, { mode: 0o600 });
  if (account !== undefined)
    for (const path of [directory.path, data, passwordFile]) await chown(path, account.uid, account.gid);
  await run(
    programOf('initdb'),
    ['-D', data, '-U', USER, `--pwfile=${passwordFile}`, '--auth=scram-sha-256', '--encoding=UTF8', '--locale=C.UTF-8'],
    { cwd: '/', ...account },
  );
  const env = {
    PGHOST: '127.0.0.1',
    PGPORT: String(port),
    PGUSER: USER,
    PGPASSWORD: password,
    PGDATABASE: 'postgres',
  };
  const settings = { listen_addresses: '127.0.0.1', port, unix_socket_directories: '', max_connections: 100 };
  const start = (): Promise<RunningProcess> => {
    const server = [
      programOf('postgres'),
      '-D',
      data,
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ];
    const [command = '', ...args] =
      account === undefined
        ? server
        : ['setpriv', `--reuid=${account.uid}`, `--regid=${account.gid}`, '--clear-groups', ...server];
    return startProcess({
      command,
      args,
      cwd: '/',
      ready: () =>
        run(programOf('pg_isready'), ['-q'], { env }).then(
          () => true,
          () => false,
        ),
    });
  };
  let server = await start();
  return {
    url: (database = 'postgres') => `postgresql://${USER}:${password}@127.0.0.1:${port}/${database}`,
    client: async (program, args) => {
      const { stdout } = await run(programOf(program), [...args], { env, maxBuffer: 64 * 1024 * 1024 });
      return stdout;
    },
    crash: async () => {
      server.kill('SIGQUIT');
      await server.ended;
    },
    restart: async () => {
      server = await start();
    },
    stop: async () => {
      server.kill('SIGINT'); // ends connections; SIGTERM would wait for them
      await server.ended;
      await directory.remove();
    },
  };
}

function programOf(name: string): string {
  return findProgram(name) ?? name;
}

function accountOf(name: string): { readonly uid: number; readonly gid: number } {
  const id = (flag: string): number => Number(spawnSync('id', [flag, name], { encoding: 'utf8' }).stdout.trim());
  return { uid: id('-u'), gid: id('-g') };
}
