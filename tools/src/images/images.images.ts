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
import { type BillOfMaterials } from '../release/bill-of-materials.js';
import { WORKSPACE } from '../started-service.js';
import { type Architecture, emulate, OWN_ARCHITECTURE } from './emulation.js';
import { type LocalBase, makeLocalBase } from './local-base.js';
import { makeLocalPostgres } from './local-postgres.js';

const BUILD_TIMEOUT_MS = 60 * 60_000;
/** What a container may do: nothing but run as nobody on files that it cannot change. */
const CONFINED = ['--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges', '--network', 'host'];
/** Whom the images run as. */
const NOBODY = 65_532;
const ADMINISTRATOR = { email: 'root@example.com', password: 'correct horse battery' };
const TARGETS = ['loader', 'admin-api'] as const;
/** What the images may add to the base: a bound that tells when something large has slipped in. */
const MOST_ADDED_MB = { loader: 110, 'admin-api': 15 };
/** Packages that lie beside the bundles; all else is in them. */
const BESIDE = { loader: ['@scarf', 'swagger-ui-dist'], 'admin-api': ['@node-rs', '@scarf', 'swagger-ui-dist'] };
/** As the kernel names them. */
const MACHINES: Readonly<Record<Architecture, string>> = { amd64: 'x86_64', arm64: 'aarch64' };
/** This machine's own first: it makes the bundles for both. */
const ARCHITECTURES = (['amd64', 'arm64'] as const).toSorted((one) => (one === OWN_ARCHITECTURE ? -1 : 1));

describeWith(['docker', 'postgresql', 'compose'], 'The container images', () => {
  let directory: TempDirectory;
  let daemon: DockerDaemon;
  let postgres: PostgresServer;
  let ownBase: LocalBase;

  const docker = (...args: string[]): Promise<string> =>
    runCommand(
      'env',
      [`DOCKER_HOST=${daemon.dockerHost}`, 'DOCKER_BUILDKIT=1', '/usr/bin/docker', ...args],
      BUILD_TIMEOUT_MS,
    );

  beforeAll(async () => {
    directory = await tempDirectory('azaion-images');
    await chmod(directory.path, 0o755);
    daemon = await startDockerd();
    postgres = await startPostgres();
    ownBase = await makeLocalBase(docker, directory.path, OWN_ARCHITECTURE);
    const context = join(directory.path, 'context');
    await mkdir(context);
    await runCommand('git', ['-C', WORKSPACE, 'archive', '--output', `${context}.tar`, 'HEAD']);
    await runCommand('tar', ['--directory', context, '--extract', '--file', `${context}.tar`]);
  });

  afterAll(async () => {
    await daemon.stop();
    await postgres.stop();
    await directory.remove();
  });

  describe.each(ARCHITECTURES)('for %s', (architecture) => {
    let base: LocalBase;
    let stopEmulation: () => Promise<void>;
    const imageOf = (target: string): string => `azaion/${target}:${architecture}`;
    const inside = (target: string, script: string): Promise<string> =>
      docker(
        ...['run', '--rm', '--platform', `linux/${architecture}`, '--network', 'none', '--entrypoint', 'sh'],
        ...[imageOf(target), '-c', script],
      );

    beforeAll(async () => {
      stopEmulation = await emulate(architecture);
      base = architecture === OWN_ARCHITECTURE ? ownBase : await makeLocalBase(docker, directory.path, architecture);
      const buildArguments = Object.entries({ ...base, BUILD_IMAGE: ownBase.BASE_IMAGE });
      for (const target of TARGETS)
        await docker(
          ...['build', '--platform', `linux/${architecture}`, '--network', 'host', '--target', target],
          ...buildArguments.flatMap(([name, image]) => ['--build-arg', `${name}=${image}`]),
          ...['--tag', imageOf(target), join(directory.path, 'context')],
        );
    });

    afterAll(() => stopEmulation());

    describe.each(TARGETS)('%s', (target) => {
      it('runs as nobody, on its own processor', async () => {
        expect((await inside(target, 'id -u; uname -m; node -p process.arch')).split('\n')).toEqual([
          String(NOBODY),
          MACHINES[architecture],
          architecture === 'amd64' ? 'x64' : architecture,
          '',
        ]);
      });

      it('holds one bundle without sources, maps or declarations, and beside it no package that could be in it', async () => {
        const found = await inside(target, `find /app -name '*.map' -o -name '*.ts' -o -name src -o -name testing`);
        expect(found).toBe('');
        expect((await inside(target, 'ls -A /app/node_modules')).trim().split('\n')).toEqual([
          '.package-lock.json',
          ...BESIDE[target],
        ]);
      });

      it('states where it comes from', async () => {
        const [{ Config: config, Architecture: made }] = JSON.parse(
          await docker('image', 'inspect', imageOf(target)),
        ) as [{ Architecture: string; Config: { Labels: Record<string, string>; Healthcheck?: object } }];
        expect(made).toBe(architecture);
        expect(config.Labels).toMatchObject({
          'org.opencontainers.image.title': `azaion-${target}`,
          'org.opencontainers.image.version': expect.any(String) as string,
          'org.opencontainers.image.revision': expect.any(String) as string,
        });
        expect(config.Healthcheck).toBeDefined();
      });

      it('brings its bill of materials, with the packages that lie in it, and their licences', async () => {
        const { components } = JSON.parse(await inside(target, 'cat /app/bom.cdx.json')) as BillOfMaterials;
        const installed = await inside(
          target,
          `cd /app/node_modules && for d in */package.json @*/*/package.json; do node -p 'const p = require(process.argv[1]); p.name + "@" + p.version' "$PWD/$d"; done`,
        );
        const listed = components.map(({ name, version }) => `${name}@${version}`);
        expect(listed).toEqual(expect.arrayContaining(installed.trim().split('\n')));
        expect(listed).toEqual(expect.arrayContaining([expect.stringMatching(/^fastify@/)]));
        expect(await inside(target, 'cat /app/THIRD-PARTY-LICENSES.txt')).toContain('Permission is hereby granted');
      });

      it(`adds at most ${MOST_ADDED_MB[target]} MB to its base`, async () => {
        const sizeOf = async (name: string): Promise<number> =>
          Number(await docker('image', 'inspect', '--format', '{{.Size}}', name)) / 1e6;
        const added = (await sizeOf(imageOf(target))) - (await sizeOf(base.BASE_IMAGE));
        console.log(`${imageOf(target)} adds ${Math.round(added)} MB`);
        expect(added).toBeLessThanOrEqual(MOST_ADDED_MB[target]);
      });
    });

    it('publish and load, confined and in production mode', async () => {
      const home = join(directory.path, architecture);
      const secrets = join(home, 'secrets');
      await mkdir(secrets, { recursive: true });
      const owner = (name: string): string => join(home, name);
      const cli = new AzaionCommand(WORKSPACE, owner('profile.json'));
      const put = async (name: string, content: string | Buffer): Promise<void> => {
        await writeFile(join(secrets, name), content, { mode: 0o600 });
        await chown(join(secrets, name), NOBODY, NOBODY);
      };
      const [adminPort, loaderPort] = [await freePort(), await freePort()];
      const adminUrl = `http://127.0.0.1:${adminPort}`;
      const loaderUrl = `http://127.0.0.1:${loaderPort}`;

      // As Kubernetes mounts secrets: root's, and readable for the group of the service.
      const handOver = async (name: string, content: string | Buffer): Promise<void> => {
        await writeFile(join(secrets, name), content);
        await chown(join(secrets, name), 0, NOBODY);
        await chmod(join(secrets, name), 0o440);
      };
      await postgres.client('createdb', [architecture]);

      // The root key is made apart, and names the statement key of this Admin API.
      await handOver('kek', randomBytes(32).toString('base64url'));
      await handOver('bootstrap-password', ADMINISTRATOR.password);
      await handOver('database-url', postgres.url(architecture));
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
        ...['--platform', `linux/${architecture}`, '--health-timeout', '60s'], // an emulated processor takes its time
        ...['--volume', `${secrets}:/secrets:ro`, '--volume', `${volume}-${architecture}:/data`],
        ...Object.entries(settings).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
      ];
      const key = await docker(
        ...['run', '--rm', ...options(adminSettings, 'admin'), imageOf('admin-api')],
        'statement-key',
      );
      await writeFile(owner('key.json'), key);
      await cli.run(['keys', 'sign', '--root', owner('root.jwk'), '--add', owner('key.json'), '-o', owner('keys.jws')]);
      await put('keys.jws', await readFile(owner('keys.jws')));
      const admin = { ...adminSettings, STATEMENT_KEY_DOCUMENT_FILE: '/secrets/keys.jws' };
      await docker(
        'run',
        '--detach',
        '--name',
        `admin-${architecture}`,
        ...options(admin, 'admin'),
        imageOf('admin-api'),
      );
      await until(answersHttp(`${adminUrl}/health/ready`), () => docker('logs', `admin-${architecture}`));

      // A device, as its disk is prepared.
      const staging = owner('staging');
      await mkdir(join(staging, 'etc'), { recursive: true });
      await cli.run(['login', '--api', adminUrl, '--email', ADMINISTRATOR.email], ADMINISTRATOR.password);
      await cli.run(['device', 'provision', staging, '--root-key', owner('root.jwk.pub.json')]);
      await put('device.conf', await readFile(join(staging, 'etc/azaion/device.conf')));
      const loader = { LOADER_HOST: '127.0.0.1', LOADER_PORT: String(loaderPort), DEVICE_CONF: '/secrets/device.conf' };
      await docker(
        'run',
        '--detach',
        '--name',
        `loader-${architecture}`,
        ...options(loader, 'loader'),
        imageOf('loader'),
      );
      await until(answersHttp(`${loaderUrl}/health/live`), () => docker('logs', `loader-${architecture}`));

      const content = pseudoRandomBytes('image', 5_000_000);
      await writeFile(owner('model.onnx'), content);
      await cli.run(['publish', owner('model.onnx')]);
      expect((await loadedThrough(loaderUrl, 'model.onnx')).equals(content)).toBe(true);

      // The engine asks as often as the images say.
      for (const name of [`admin-${architecture}`, `loader-${architecture}`])
        await until(
          async () => (await docker('inspect', '--format', '{{.State.Health.Status}}', name)).trim() === 'healthy',
          () => docker('inspect', name),
        );
      const names = [`loader-${architecture}`, `admin-${architecture}`];
      if (architecture === OWN_ARCHITECTURE) {
        await docker('stop', '--time', '10', ...names);
        for (const name of names)
          expect((await docker('inspect', '--format', '{{.State.ExitCode}}', name)).trim()).toBe('0');
      } else {
        // At the end a service gives itself the signal again; as process 1 of a container an emulator hangs in that, where a kernel goes on.
        await docker('rm', '--force', ...names);
      }
    });
  });

  it('come up from the developer’s compose file, and publish and load there', async () => {
    const [adminPort, loaderPort] = [await freePort(), await freePort()];
    const settings = {
      DOCKER_HOST: daemon.dockerHost,
      POSTGRES_IMAGE: await makeLocalPostgres(docker, directory.path, ownBase.BASE_IMAGE),
      ADMIN_API_IMAGE: `azaion/admin-api:${OWN_ARCHITECTURE}`,
      LOADER_IMAGE: `azaion/loader:${OWN_ARCHITECTURE}`,
      BOOTSTRAP_ADMIN_EMAIL: ADMINISTRATOR.email,
      BOOTSTRAP_ADMIN_PASSWORD: ADMINISTRATOR.password,
      ADMIN_PORT: String(adminPort),
      LOADER_PORT: String(loaderPort),
    };
    const file = join(directory.path, 'context', 'deploy', 'compose', 'developer.yaml');
    const compose = (...args: string[]): Promise<string> =>
      runCommand(
        'env',
        [
          ...Object.entries(settings).map(([name, value]) => `${name}=${value}`),
          ...['docker-compose', '--project-name', 'azaion', '--file', file, ...args],
        ],
        BUILD_TIMEOUT_MS,
      );
    await compose('up', '--detach', '--no-build');
    const loaderUrl = `http://127.0.0.1:${loaderPort}`;
    await until(answersHttp(`${loaderUrl}/health/live`), () => compose('logs', '--no-color'));

    const cli = new AzaionCommand(WORKSPACE, join(directory.path, 'compose-profile.json'));
    const content = pseudoRandomBytes('compose', 1_000_000);
    await writeFile(join(directory.path, 'composed.onnx'), content);
    await cli.run(
      ['login', '--api', `http://127.0.0.1:${adminPort}`, '--email', ADMINISTRATOR.email],
      ADMINISTRATOR.password,
    );
    await cli.run(['publish', join(directory.path, 'composed.onnx')]);
    expect((await loadedThrough(loaderUrl, 'composed.onnx')).equals(content)).toBe(true);
    await compose('down', '--volumes');
  });
});

/** A model as a Loader hands it out to the administrator. */
async function loadedThrough(loaderUrl: string, name: string): Promise<Buffer> {
  const login = await fetch(`${loaderUrl}/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(ADMINISTRATOR),
  });
  const { access_token: token } = (await login.json()) as { access_token: string };
  const loaded = await fetch(`${loaderUrl}/resources/models/${name}`, {
    headers: { authorization: `Bearer ${token}` },
  });
  expect(loaded.status).toBe(200);
  return Buffer.from(await loaded.arrayBuffer());
}

/** Asks until the answer is yes. @throws Error with an explanation after ten minutes, which an emulated processor may need. */
async function until(isSo: () => Promise<boolean>, explain: () => Promise<string>): Promise<void> {
  const deadlineMs = performance.now() + 600_000;
  while (!(await isSo())) {
    if (performance.now() > deadlineMs) throw new Error(await explain());
    await delay(500);
  }
}
