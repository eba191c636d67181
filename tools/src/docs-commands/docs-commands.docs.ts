import { execFile } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';

import { describeWith, findProgram, freePort, startPostgres, tempDirectory } from '@azaion/testing';

import { type ShellBlock, printsAsTold, shellBlocks, transcriptEntries } from '../docs/shell-blocks.js';
import { COMMAND_PAGES, STANDALONE_PAGE } from '../docs/command-pages.js';
import { WORKSPACE } from '../started-service.js';
import { postJson, type StartedSystem, startSystem } from '../e2e/started-system.js';

/** Roles of the accounts that the pages log in with. */
const PEOPLE = { you: 'ApiAdmin', publisher: 'ResourceUploader', operator: 'Operator' } as const;
/** Whatever a page has started ends with it. */
const BACKGROUND_ENDS = `trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT`;
const PASSPHRASE = 'a passphrase for documents';
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;
const PAGE_MS = 240_000;

/** Where the services are that a page speaks of. */
type Services = Pick<StartedSystem, 'adminUrl' | 'loaderUrl'>;

describeWith('postgresql', 'the commands of the documents, run as they stand there', () => {
  let directory: Awaited<ReturnType<typeof tempDirectory>>;
  let postgres: Awaited<ReturnType<typeof startPostgres>>;
  let system: StartedSystem;
  let environment: Record<string, string>;
  const at = (...parts: string[]): string => join(directory.path, ...parts);

  beforeAll(async () => {
    directory = await tempDirectory('azaion-docs');
    await chmod(directory.path, 0o755);
    postgres = await startPostgres();
    const adminEnv = { DATABASE_URL: postgres.url(), ADMIN_KEK_FILE: at('installation', 'kek') };
    await mkdir(at('installation'));
    environment = await shellEnvironment(adminEnv);
    // An installation with an offline root, as its how-to has it.
    await shell(
      at('installation'),
      'azaion keys root create -o root.jwk; node $WORKSPACE/apps/admin-api/dist/main.js statement-key > key.json; azaion keys sign --root root.jwk --add key.json -o keys.jws',
    );
    system = await startSystem({
      adminEnv: {
        ...adminEnv,
        STATEMENT_ROOT_KEY_FILE: at('installation', 'root.jwk.pub.json'),
        STATEMENT_KEY_DOCUMENT_FILE: at('installation', 'keys.jws'),
        LOGIN_ATTEMPTS_PER_ADDRESS: '1000',
        LOGIN_ATTEMPTS_PER_ACCOUNT: '1000',
      },
      loaderEnv: { UNLOCK_RUNTIME: 'directory', STATEMENT_ROOT_KEY_FILE: at('installation', 'root.jwk.pub.json') },
    });
    const { access_token: token } = await postJson<{ access_token: string }>(
      `${system.adminUrl}/login`,
      system.administrator,
    );
    for (const [name, role] of Object.entries(PEOPLE))
      for (const domain of ['example.com', 'azaion.example'])
        await postJson(
          `${system.adminUrl}/users`,
          { email: `${name}@${domain}`, password: system.administrator.password, role },
          token,
        );
    environment = {
      ...environment,
      AZAION_PASSWORD: system.administrator.password,
      IMAGES_DIR: system.imagesDir,
      LOADER_DEVICE: system.serial,
    };
  }, PAGE_MS);
  afterAll(async () => {
    await system.stop();
    await postgres.stop();
    await directory.remove();
  });

  /** What the shells of readers have: the command `azaion`, programs of PostgreSQL, and the settings of the Admin API. */
  async function shellEnvironment(adminEnv: Readonly<Record<string, string>>): Promise<Record<string, string>> {
    await mkdir(at('bin'));
    await symlink(process.execPath, at('bin', 'node'));
    const azaion = join(WORKSPACE, 'apps', 'cli', 'dist', 'main.js');
    await writeFile(at('bin', 'azaion'), `#!/bin/sh\nexec "${process.execPath}" "${azaion}" "$@"\n`, { mode: 0o755 });
    await writeFile(at('bin', 'npx'), '#!/bin/sh\nexec "$@"\n', { mode: 0o755 });
    const { hostname, port, username, password } = new URL(postgres.url());
    return {
      PATH: [at('bin'), dirname(findProgram('pg_dump') ?? ''), process.env['PATH'] ?? ''].join(delimiter),
      HOME: directory.path,
      NODE_COMPILE_CACHE: at('compiled'),
      LANG: 'C.UTF-8',
      WORKSPACE,
      INSTALLATION: at('installation'),
      AZAION_PASSPHRASE: PASSPHRASE,
      STATEMENT_ROOT_KEY_FILE: at('installation', 'root.jwk.pub.json'),
      PGHOST: hostname,
      PGPORT: port,
      PGUSER: username,
      PGPASSWORD: password,
      ...adminEnv,
    };
  }

  /** What stands in a page for something that differs from place to place. */
  function here(text: string, { adminUrl, loaderUrl }: Services): string {
    return text
      .replaceAll('https://api.example.com', adminUrl)
      .replaceAll('http://127.0.0.1:8081', adminUrl)
      .replaceAll('http://127.0.0.1:8080', loaderUrl)
      .replaceAll(/(?:\.\.\/)?(apps\/(?:admin-api|loader)\/dist\/main\.js)/g, '"$WORKSPACE"/$1')
      .replaceAll('/var/lib/azaion/', `${at('device')}/`)
      .replaceAll('/media/usb/', './');
  }

  /** Services of a page's own, on ports that are free; of the others' settings they see none. */
  async function standalone(): Promise<{ readonly services: Services; readonly env: Record<string, string> }> {
    const [adminPort, loaderPort] = [await freePort(), await freePort()];
    const { PATH = '', HOME = '', LANG = '', NODE_COMPILE_CACHE = '' } = environment;
    return {
      services: { adminUrl: `http://127.0.0.1:${adminPort}`, loaderUrl: `http://127.0.0.1:${loaderPort}` },
      env: {
        ...{ PATH, HOME, LANG, NODE_COMPILE_CACHE, WORKSPACE },
        ADMIN_HOST: '127.0.0.1',
        ADMIN_PORT: String(adminPort),
        LOADER_PORT: String(loaderPort),
      },
    };
  }

  function shell(
    cwd: string,
    script: string,
    env = environment,
  ): Promise<{ readonly status: number; readonly output: string }> {
    return new Promise((resolve) => {
      const child = execFile(
        'bash',
        ['-euo', 'pipefail', '-c', script],
        { cwd, env, timeout: PAGE_MS, maxBuffer: MAX_OUTPUT_BYTES },
        (error, stdout, stderr) => {
          const status = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
          resolve({ status, output: `${stdout}${stderr}` });
        },
      );
      child.stdin?.end();
    });
  }

  it.each(COMMAND_PAGES)('%s', async (page) => {
    const cwd = at('pages', page.replaceAll('/', '-'));
    await mkdir(cwd, { recursive: true });
    const blocks = shellBlocks(await readFile(join(WORKSPACE, page), 'utf8')).filter(
      ({ notRun }) => notRun === undefined,
    );
    expect(blocks.length).toBeGreaterThan(0);
    const { services, env } = page === STANDALONE_PAGE ? await standalone() : { services: system, env: environment };
    const profile = { AZAION_PROFILE: join(cwd, '.profile', 'profile.json') };
    // One shell for the page, so that what it sets holds; what each command prints goes into a file of its own.
    const printed = join(cwd, '.printed');
    await mkdir(printed);
    const told = new Map<string, string>();
    const script = blocks.flatMap((block) => scriptOf(block, printed, told));
    const whole = [BACKGROUND_ENDS, ...script].join('\n');
    const { status, output } = await shell(cwd, here(whole, services), { ...env, ...profile });
    if (status !== 0) {
      const files = (await readdir(printed)).toSorted((left, right) => parseFloat(left) - parseFloat(right));
      const last = files.at(-1) ?? '';
      const said = last === '' ? '' : await readFile(join(printed, last), 'utf8');
      throw new Error(`${page}, line ${last}: ended with status ${status}\n${said}${output}`);
    }
    for (const [file, expected] of told) {
      const said = await readFile(join(printed, file), 'utf8');
      if (!printsAsTold(here(expected, services), said)) expect({ page, line: file, said }).toEqual(expected);
    }
  });
});

/** A block as lines of a script; `told` gets what a page says that its commands print. */
function scriptOf(block: ShellBlock, printed: string, told: Map<string, string>): readonly string[] {
  if (block.kind !== 'console') return [redirected(block.text, join(printed, String(block.line)))];
  return transcriptEntries(block.text).map(({ command, printed: expected }, index) => {
    const file = `${block.line}.${index}`;
    told.set(file, expected);
    return redirected(command, join(printed, file));
  });
}

function redirected(commands: string, file: string): string {
  return `{\n${commands}\n} > '${file}' 2>&1`;
}
