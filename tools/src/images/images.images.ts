import { execFileSync } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { Spec, Validation } from '@cyclonedx/cyclonedx-library';

import {
  answersHttp,
  describeWith,
  type DockerDaemon,
  findProgram,
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
import { documentOf } from '../deploy/documents.js';
import type { BillOfMaterials } from '../release/bill-of-materials.js';
import { RELEASED_IMAGES } from '../release/released-images.js';
import { WORKSPACE } from '../started-service.js';
import { ADMINISTRATOR, type AdminContainer, CONFINED, NOBODY, startAdminContainer } from './admin-container.js';
import { type Architecture, emulate, OWN_ARCHITECTURE } from './emulation.js';
import { buildArguments, type ImageStep, imageStepsOf } from './image-steps.js';
import { type LocalBase, makeLocalBase } from './local-base.js';
import { makeLocalPostgres } from './local-postgres.js';
import { type LocalRegistry, startRegistry } from './local-registry.js';
import { makeSystemdMachine } from './systemd-machine.js';
import { until } from './until.js';

const BUILD_TIMEOUT_MS = 60 * 60_000;
const TARGETS = ['loader', 'admin-api'] as const;
/** As engines count it, unpacked: a bound that tells when something large has slipped in. */
const MOST_MB = { loader: 300, 'admin-api': 160 };
/** Packages that lie beside the bundles; all else is in them. */
const BESIDE = {
  loader: ['@scarf', 'swagger-ui-dist'],
  'admin-api': ['@node-rs', '@scarf', 'swagger-ui-dist'],
};
/** As the kernel names them. */
const MACHINES: Readonly<Record<Architecture, string>> = {
  amd64: 'x86_64',
  arm64: 'aarch64',
};
/** The image that devices unlock in these tests. */
const REFERENCE = 'azaion/detections:latest';
/** The program in it, at the same place as here. */
const BUSYBOX = findProgram('busybox') ?? '/bin/busybox';
const OTHER_ARCHITECTURE: Architecture = OWN_ARCHITECTURE === 'amd64' ? 'arm64' : 'amd64';
/** This machine's own first: it makes the bundles for both. */
const ARCHITECTURES = [OWN_ARCHITECTURE, OTHER_ARCHITECTURE] as const;

/** What a registry has under the name of an image that is there for several platforms. */
interface ImageIndex {
  readonly manifests: readonly {
    readonly digest: string;
    readonly platform: { readonly os: string; readonly architecture: Architecture };
  }[];
}

describeWith(
  ['docker', 'postgresql', 'compose', 'busybox', 'debootstrap', 'emulator', 'registry', 'buildx', 'platformsEngine'],
  'The container images',
  () => {
    let directory: TempDirectory;
    let registry: LocalRegistry;
    /** That of a device. */
    let daemon: DockerDaemon;
    /** That of the pipeline, which builds: it knows images of several processors under one name. */
    let builder: DockerDaemon;
    let postgres: PostgresServer;
    let ownBase: LocalBase;
    const madeBases = new Map<Architecture, Promise<LocalBase>>();

    const dockerAt = (engine: DockerDaemon, args: readonly string[]): Promise<string> =>
      runCommand(
        'env',
        [
          ...[`DOCKER_HOST=${engine.dockerHost}`, `DOCKER_CONFIG=${join(directory.path, 'profile')}`],
          ...['DOCKER_BUILDKIT=1', '/usr/bin/docker', ...args],
        ],
        BUILD_TIMEOUT_MS,
      );
    const docker = (...args: string[]): Promise<string> => dockerAt(daemon, args);
    const dockerOfBuilder = (...args: string[]): Promise<string> => dockerAt(builder, args);

    const compose = (
      file: string,
      project: string,
      args: readonly string[],
      settings: Readonly<Record<string, string>>,
    ): Promise<string> =>
      runCommand(
        'env',
        [
          ...Object.entries({
            ...settings,
            DOCKER_HOST: daemon.dockerHost,
          }).map(([name, value]) => `${name}=${value}`),
          ...['docker-compose', '--project-name', project, '--file', file, ...args],
        ],
        BUILD_TIMEOUT_MS,
      );

    /** Made once. For another processor than this machine's it must be emulated meanwhile. */
    function baseFor(architecture: Architecture): Promise<LocalBase> {
      const base = madeBases.get(architecture) ?? makeLocalBase(docker, directory.path, architecture, registry.host);
      madeBases.set(architecture, base);
      return base;
    }

    const imageId = async (reference: string): Promise<string> =>
      (await docker('image', 'inspect', '--format', '{{.Id}}', reference)).trim();

    /** What a container gets that may speak to the engine. */
    const engineOptions = async (): Promise<readonly string[]> => {
      const socket = daemon.dockerHost.replace('unix://', '');
      return ['--volume', `${socket}:/var/run/docker.sock`, '--group-add', String((await stat(socket)).gid)];
    };

    /** Makes a real image, saves it, and takes it away again. */
    async function savedImage(archive: string): Promise<{ readonly id: string; readonly archive: string }> {
      const files = execFileSync('tar', ['-C', '/', '-cf', '-', BUSYBOX.slice(1)], {
        maxBuffer: 2 ** 26,
      });
      await writeFile(`${archive}.files`, files);
      await docker('import', '--change', `CMD ["${BUSYBOX}","sh"]`, `${archive}.files`, REFERENCE);
      const id = await imageId(REFERENCE);
      await docker('save', '--output', archive, REFERENCE);
      await docker('rmi', '--force', REFERENCE);
      await expect(imageId(REFERENCE)).rejects.toThrow();
      return { id, archive };
    }

    /** As an operator does. */
    async function unlockedBy(loaderUrl: string): Promise<void> {
      const operator = new AzaionCommand(WORKSPACE, join(directory.path, `operator-${new URL(loaderUrl).port}.json`));
      await operator.run(['login', '--loader', loaderUrl, '--email', ADMINISTRATOR.email], ADMINISTRATOR.password);
      await operator.run(['unlock', '--loader', loaderUrl]);
    }

    beforeAll(async () => {
      directory = await tempDirectory('azaion-images');
      await chmod(directory.path, 0o755);
      registry = await startRegistry();
      daemon = await startDockerd();
      builder = await startDockerd({ isForPlatforms: true });
      postgres = await startPostgres();
      await docker('login', '--username', registry.user, '--password', registry.password, registry.host);
      ownBase = await baseFor(OWN_ARCHITECTURE);
      const context = join(directory.path, 'context');
      await mkdir(context);
      await runCommand('git', ['-C', WORKSPACE, 'archive', '--output', `${context}.tar`, 'HEAD']);
      await runCommand('tar', ['--directory', context, '--extract', '--file', `${context}.tar`]);
    });

    afterAll(async () => {
      await builder.stop();
      await daemon.stop();
      await registry.stop();
      await postgres.stop();
      await directory.remove();
    });

    describe.each(ARCHITECTURES)('for %s', (architecture) => {
      let base: LocalBase;
      let stopEmulation: () => Promise<void>;
      const imageOf = (target: string): string => `azaion/${target}:${architecture}`;
      /** All that is in an image, unpacked: most images have no program to look around with. */
      const unpacked = (target: string): string => join(directory.path, `${target}-${architecture}`);
      const node = (target: string, expression: string): Promise<string> =>
        docker(
          ...['run', '--rm', '--platform', `linux/${architecture}`, '--network', 'none', '--entrypoint', 'node'],
          ...[imageOf(target), '--print', expression],
        );

      beforeAll(async () => {
        stopEmulation = await emulate(architecture);
        base = await baseFor(architecture);
        const values = Object.entries({
          ...base,
          BUILD_IMAGE: ownBase.BASE_IMAGE,
        });
        for (const target of TARGETS) {
          const archive = `${unpacked(target)}.image.tar`;
          await dockerOfBuilder(
            ...['buildx', 'build', '--platform', `linux/${architecture}`, '--network', 'host', '--target', target],
            ...values.flatMap(([name, image]) => ['--build-arg', `${name}=${image}`]),
            ...['--tag', imageOf(target), '--output', `type=docker,dest=${archive}`, join(directory.path, 'context')],
          );
          await docker('load', '--input', archive);
          await rm(archive);
          const container = (await docker('create', '--platform', `linux/${architecture}`, imageOf(target))).trim();
          await docker('export', '--output', `${unpacked(target)}.tar`, container);
          await docker('rm', container);
          await mkdir(unpacked(target));
          await runCommand('tar', ['--directory', unpacked(target), '--extract', '--file', `${unpacked(target)}.tar`]);
        }
      });

      afterAll(() => stopEmulation());

      describe.each(TARGETS)('%s', (target) => {
        it('runs as nobody, on its own processor', async () => {
          const expression = '`${process.getuid()} ${os.machine()} ${process.arch}`';
          const processor = architecture === 'amd64' ? 'x64' : architecture;
          expect(await node(target, expression)).toBe(`${NOBODY} ${MACHINES[architecture]} ${processor}\n`);
        });

        it('holds the programs that it needs and no other: no package manager, no compiler, nothing that changes the user', async () => {
          const { programs, plugins } = RELEASED_IMAGES[target];
          const places = ['usr/bin', 'usr/sbin', 'usr/local/bin', 'usr/local/sbin', 'usr/games', 'opt'];
          const found = await Promise.all(
            places.map((place) => readdir(join(unpacked(target), place)).catch(() => [])),
          );
          expect(found.flat().sort()).toEqual([...programs].sort());
          const everywhere = [
            '-name',
            'npm*',
            '-o',
            '-name',
            'yarn*',
            '-o',
            '-name',
            'corepack*',
            '-o',
            '-name',
            'apt*',
          ];
          const others = ['-o', '-name', 'dpkg', '-type', 'f', '-o', '-perm', '/6000'];
          expect(await runCommand('find', [unpacked(target), ...everywhere, ...others])).toBe('');
          for (const plugin of plugins) expect((await stat(join(unpacked(target), plugin))).mode & 0o111).toBe(0o111);
        });

        it('holds one bundle without sources, maps or declarations, and beside it no package that could be in it', async () => {
          const app = join(unpacked(target), 'app');
          const unwanted = ['-name', '*.map', '-o', '-name', '*.ts', '-o', '-name', 'src', '-o', '-name', 'testing'];
          expect(await runCommand('find', [app, ...unwanted])).toBe('');
          expect((await readdir(join(app, 'node_modules'))).sort()).toEqual(['.package-lock.json', ...BESIDE[target]]);
        });

        it('states where it comes from', async () => {
          const [{ Config: config, Architecture: made }] = JSON.parse(
            await docker('image', 'inspect', imageOf(target)),
          ) as [
            {
              Architecture: string;
              Config: { Labels: Record<string, string>; Healthcheck?: object };
            },
          ];
          expect(made).toBe(architecture);
          expect(config.Labels).toMatchObject({
            'org.opencontainers.image.title': `azaion-${target}`,
            'org.opencontainers.image.version': expect.any(String) as string,
            'org.opencontainers.image.revision': expect.any(String) as string,
          });
          expect(config.Healthcheck).toBeDefined();
        });

        it('brings its bill of materials, with all that lies in it: packages of npm and of Debian, and programs', async () => {
          const text = await readFile(join(unpacked(target), 'app/bom.cdx.json'), 'utf8');
          expect(await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(text)).toBeNull();
          const { components } = JSON.parse(text) as BillOfMaterials;
          const listed = components.map(({ name, version }) => `${name}@${version}`);
          const manifests = await runCommand('find', [
            ...[join(unpacked(target), 'app/node_modules'), '-name', 'package.json', '-path', '*/node_modules/*'],
            ...['-not', '-path', '*/node_modules/*/*/*/*', '-not', '-path', '*/node_modules/[^@]*/*/*'],
          ]);
          for (const path of manifests.trim().split('\n')) {
            const { name, version } = JSON.parse(await readFile(path, 'utf8')) as Readonly<Record<string, string>>;
            expect(listed).toContain(`${name}@${version}`);
          }
          expect(listed).toEqual(expect.arrayContaining([expect.stringMatching(/^fastify@/)]));
          const debian = components.filter(({ purl }) => purl?.startsWith('pkg:deb/')).map(({ name }) => name);
          expect(debian).toEqual((await readdir(join(unpacked(target), 'var/lib/dpkg/status.d'))).sort());
          expect(debian).toContain('libc6');
          const programs = components.filter(({ type }) => type === 'application').map(({ name }) => name);
          expect(programs).toEqual(target === 'loader' ? ['node', 'docker', 'docker-compose'] : ['node']);
        });

        it('brings the licences of the packages and the programs in it, and the texts that these refer to', async () => {
          const text = await readFile(join(unpacked(target), 'app/THIRD-PARTY-LICENSES.txt'), 'utf8');
          expect(text).toContain('Permission is hereby granted');
          const programs = target === 'loader' ? ['node', 'docker', 'docker-compose'] : ['node'];
          for (const name of [...(await readdir(join(unpacked(target), 'var/lib/dpkg/status.d'))), ...programs]) {
            const about = await readFile(join(unpacked(target), 'usr/share/doc', name, 'copyright'), 'utf8');
            expect(about).not.toBe('');
            for (const [path] of about.matchAll(/\/usr\/share\/common-licenses\/[A-Z][\w.-]*\w/g))
              expect((await stat(join(unpacked(target), path))).size).toBeGreaterThan(0);
          }
        });

        it(`is at most ${MOST_MB[target]} MB`, async () => {
          const size = Number(await docker('image', 'inspect', '--format', '{{.Size}}', imageOf(target))) / 1e6;
          console.log(`${imageOf(target)} is ${Math.round(size)} MB`);
          expect(size).toBeLessThanOrEqual(MOST_MB[target]);
        });
      });

      describe('of the Loader', () => {
        const runs = async (program: string, ...args: string[]): Promise<string> =>
          docker(
            ...['run', '--rm', '--platform', `linux/${architecture}`, ...CONFINED, ...(await engineOptions())],
            ...['--entrypoint', program, imageOf('loader'), ...args],
          );

        it('runs the programs that an unlock and a TPM need', async () => {
          expect(await runs('docker', 'version', '--format', '{{.Server.Version}}')).toMatch(/^\d+\./);
          expect(await runs('docker', 'compose', 'version')).toMatch(/version v?2\./);
          expect(await runs('tpm2', 'getcap', '--version')).toContain('tool="getcap"');
        });

        it('knows the machine as well as its base does', async () => {
          const facts = `const s = require('/probe');
          Promise.all([s.baseboard(), s.system(), s.cpu(), s.cpuFlags(), s.networkInterfaces(true), s.mem(), s.diskLayout()])
            .then(([board, machine, cpu, flags, ports, memory, disks]) => console.log(JSON.stringify([board.serial, machine.serial,
              machine.virtual, cpu.manufacturer, cpu.brand, flags, ports.map((port) => port.mac), memory.total, disks.map((disk) => disk.serialNum)])))`;
          const asked = (image: string): Promise<string> =>
            docker(
              ...['run', '--rm', '--platform', `linux/${architecture}`, ...CONFINED, '--user', String(NOBODY)],
              ...['--volume', `${join(WORKSPACE, 'node_modules/systeminformation')}:/probe:ro`],
              ...['--entrypoint', 'node', image, '--eval', facts],
            );
          expect(await asked(imageOf('loader'))).toBe(await asked(base.BASE_IMAGE));
        });
      });

      describe('at work, confined and in production mode', () => {
        let home: string;
        let admin: AdminContainer;
        let loaderUrl: string;
        const loaderName = `loader-${architecture}`;

        beforeAll(async () => {
          home = join(directory.path, architecture);
          await mkdir(home);
          admin = await startAdminContainer({
            docker,
            image: imageOf('admin-api'),
            architecture,
            postgres,
            home,
          });
          const deviceConf = await admin.provision('device');
          const port = await freePort();
          loaderUrl = `http://127.0.0.1:${port}`;
          const settings = {
            LOADER_HOST: '127.0.0.1',
            LOADER_PORT: String(port),
            DEVICE_CONF: '/device.conf',
            UNLOCK_RUNTIME: 'engine',
          };
          await docker(
            ...['run', '--detach', '--name', loaderName, '--platform', `linux/${architecture}`, ...CONFINED],
            ...['--health-timeout', '60s', ...(await engineOptions())],
            ...['--volume', `${deviceConf}:/device.conf:ro`, '--volume', `${loaderName}:/data`],
            ...Object.entries(settings).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
            imageOf('loader'),
          );
          await until(answersHttp(`${loaderUrl}/health/live`), () => docker('logs', loaderName));
        });

        it('publish and load', async () => {
          const content = pseudoRandomBytes('image', 5_000_000);
          await writeFile(join(home, 'model.onnx'), content);
          await admin.cli.run(['publish', join(home, 'model.onnx')]);
          expect((await loadedThrough(loaderUrl, 'model.onnx')).equals(content)).toBe(true);
        });

        it('unlock an image archive into the engine (F4)', async () => {
          const { id, archive } = await savedImage(join(home, 'images.tar'));
          await admin.cli.run([
            'publish',
            archive,
            '--folder',
            'images',
            '--name',
            'azaion-latest',
            '--kind',
            'images',
          ]);
          await unlockedBy(loaderUrl);
          expect(await imageId(REFERENCE)).toBe(id);
          await docker('rmi', REFERENCE);
        });

        it('are healthy by their own checks, asked as often as the images say', async () => {
          for (const name of [admin.name, loaderName])
            await until(
              async () => (await docker('inspect', '--format', '{{.State.Health.Status}}', name)).trim() === 'healthy',
              () => docker('inspect', name),
            );
        });

        if (architecture === OWN_ARCHITECTURE) {
          it('come up on a device from its compose file, unlock there, and start the services from the images', async () => {
            const [opt, run] = [join(home, 'opt'), join(home, 'run')];
            await mkdir(opt);
            await mkdir(join(run, 'azaion'), { recursive: true });
            await writeFile(
              join(opt, 'services.yaml'),
              JSON.stringify({
                services: {
                  detections: { image: REFERENCE, network_mode: 'none', command: [BUSYBOX, 'sleep', '1000000'] },
                },
              }),
            );
            const port = await freePort();
            // What every device has at the same place lies apart here; there is no TPM, and the Admin API is on this machine's loopback.
            const file = join(home, 'device.json');
            const known = documentOf(join(WORKSPACE, 'deploy', 'compose', 'device.yaml')) as {
              readonly services: {
                readonly loader: Readonly<Record<string, unknown>>;
              };
            };
            const { devices, ports, ...loader } = known.services.loader;
            expect([devices, ports]).toEqual([expect.any(Array), expect.any(Array)]);
            const changed = {
              ...known,
              services: {
                loader: {
                  ...loader,
                  network_mode: 'host',
                  environment: {
                    ...(loader['environment'] as object),
                    LOADER_HOST: '127.0.0.1',
                    LOADER_PORT: String(port),
                  },
                },
              },
            };
            const socket = daemon.dockerHost.replace('unix://', '');
            const text = JSON.stringify(changed)
              .replaceAll('/var/run/docker.sock:/', `${socket}:/`)
              .replaceAll('"/opt/azaion:', `"${opt}:`)
              .replaceAll('"/run:', `"${run}:`);
            await writeFile(file, text);
            const group = String((await stat(socket)).gid);
            const composed = (...args: string[]): Promise<string> =>
              // As in a directory of this name.
              compose(file, 'azaion', args, {
                LOADER_IMAGE: imageOf('loader'),
                UNLOCK_COMPOSE_FILE: '/opt/azaion/services.yaml',
                DOCKER_GROUP_ID: group,
                // Not the same twice: compose refuses that.
                TSS_GROUP_ID: String(NOBODY - 1),
                DEVICE_CONF: deviceConf,
                LOADER_BINDING: 'credentials',
              });
            const deviceConf = await admin.provision('composed');
            await composed('up', '--detach');
            const url = `http://127.0.0.1:${port}`;
            await until(answersHttp(`${url}/health/live`), () => composed('logs', '--no-color'));
            // By itself: the file says UNLOCK_ON_START.
            await until(
              async () => {
                const { state } = (await (await fetch(`${url}/unlock/status`)).json()) as { readonly state: string };
                return state === 'ready';
              },
              () => composed('logs', '--no-color'),
            );
            const service = (await docker('ps', '--quiet', '--filter', `ancestor=${REFERENCE}`)).trim();
            expect(service).toMatch(/^[0-9a-f]+$/);
            await composed('down', '--volumes');
            await docker('rm', '--force', service);
          });

          it('run under systemd on a device, in its sandbox, unlock there, and come back after a crash', async () => {
            await docker('rmi', '--force', REFERENCE);
            const socket = daemon.dockerHost.replace('unix://', '');
            const machine = await makeSystemdMachine(docker, home, {
              base: base.BASE_IMAGE,
              loader: imageOf('loader'),
              dockerGroup: (await stat(socket)).gid,
            });
            const deviceConf = await admin.provision('systemd');
            const port = await freePort();
            const url = `http://127.0.0.1:${port}`;
            const settings = ['LOADER_HOST=127.0.0.1', `LOADER_PORT=${port}`, 'LOADER_BINDING=credentials', ''];
            await writeFile(join(home, 'loader.env'), settings.join('\n'));
            await docker(
              ...['run', '--detach', '--name', 'systemd', '--network', 'host', '--cgroupns', 'private'],
              // What process 1 needs to make sandboxes: the unit itself keeps none of it.
              ...[
                '--cap-add',
                'SYS_ADMIN',
                '--security-opt',
                'seccomp=unconfined',
                '--security-opt',
                'apparmor=unconfined',
              ],
              ...[
                '--tmpfs',
                '/run',
                '--tmpfs',
                '/run/lock',
                '--tmpfs',
                '/tmp',
                '--volume',
                `${socket}:/run/docker.sock`,
              ],
              ...['--volume', `${deviceConf}:/etc/azaion/device.conf:ro`],
              ...['--volume', `${join(home, 'loader.env')}:/etc/azaion/loader.env:ro`, machine],
            );
            const on = (...args: string[]): Promise<string> => docker('exec', 'systemd', ...args);
            const log = (): Promise<string> => on('journalctl', '--no-pager', '--unit', 'azaion-loader');
            const property = async (name: string): Promise<string> =>
              (await on('systemctl', 'show', '--value', '--property', name, 'azaion-loader')).trim();
            await until(answersHttp(`${url}/health/live`), log);
            const status = await on('cat', `/proc/${await property('MainPID')}/status`);
            expect(status).toMatch(/^Uid:\t65532\t/m);
            expect(status).toMatch(/^CapBnd:\t0+$/m);
            expect(status).toMatch(/^NoNewPrivs:\t1$/m);
            expect(status).toMatch(/^Seccomp:\t2$/m);

            await unlockedBy(url);
            expect(await imageId(REFERENCE)).toMatch(/^sha256:/);

            await on('systemctl', 'kill', '--kill-whom=main', '--signal=SIGKILL', 'azaion-loader');
            await until(async () => (await property('NRestarts')) === '1', log);
            await until(answersHttp(`${url}/health/live`), log);
            await on('systemctl', 'stop', 'azaion-loader');
            expect([await property('Result'), await property('ActiveState')]).toEqual(['success', 'inactive']);
            await docker('rm', '--force', 'systemd');
          });
        }

        afterAll(async () => {
          const names = [loaderName, admin.name];
          // At the end a service gives itself the signal again; as process 1 of a container an emulator hangs in that, where a kernel goes on.
          if (architecture !== OWN_ARCHITECTURE) {
            await docker('rm', '--force', ...names);
            return;
          }
          await docker('stop', '--time', '10', ...names);
          for (const name of names)
            expect((await docker('inspect', '--format', '{{.State.ExitCode}}', name)).trim()).toBe('0');
        });
      });
    });

    describe('as the pipeline builds and pushes them', () => {
      let stopEmulation: () => Promise<void>;
      let steps: readonly ImageStep[];
      const commit = '0123456789abcdef0123456789abcdef01234567';
      const asPipeline = (...args: string[]): Promise<string> =>
        dockerOfBuilder('--config', join(directory.path, 'profile-of-pipeline'), ...args);
      const stepOf = (target: string): ImageStep => steps.find((step) => step.target === target)!;

      beforeAll(async () => {
        stopEmulation = await emulate(OTHER_ARCHITECTURE);
        steps = await imageStepsOf(WORKSPACE, {
          secrets: {
            registry_host: registry.host,
            registry_user: registry.user,
            registry_token: registry.password,
            registry_loader_repository: `${registry.host}/azaion/loader`,
            registry_admin_api_repository: `${registry.host}/azaion/admin-api`,
          },
          variables: { CI_COMMIT_BRANCH: 'main', CI_COMMIT_SHA: commit },
        });
      });

      afterAll(() => stopEmulation());

      it('are those that are delivered', () => {
        expect(steps.map(({ target }) => target).sort()).toEqual([...TARGETS].sort());
      });

      describe.each(TARGETS)('%s', (target) => {
        const bases: Record<string, string> = {};
        const context = (): string => join(directory.path, 'context');

        beforeAll(async () => {
          // A registry has one name for both processors.
          for (const argument of ['BASE_IMAGE', 'DOCKER_CLI_IMAGE'] as const) {
            const name = `${registry.host}/${argument.toLowerCase()}:both`;
            const sources = await Promise.all(ARCHITECTURES.map(async (one) => (await baseFor(one))[argument]));
            await dockerOfBuilder('buildx', 'imagetools', 'create', '--tag', name, ...sources);
            bases[argument] = name;
          }
        });

        it('is refused by the registry without the password', async () => {
          await docker('tag', ownBase.BASE_IMAGE, `${stepOf(target).repo}:anybody`);
          await expect(
            docker('--config', join(directory.path, 'profile-of-nobody'), 'push', `${stepOf(target).repo}:anybody`),
          ).rejects.toThrow(/no basic auth credentials|unauthorized/);
        });

        it('is one image for both processors, under the tags of its branch and of its commit, which comes by its digest for each and runs there', async () => {
          const step = stepOf(target);
          const { repo, tags } = step;
          expect(tags).toEqual(['main', 'main-01234567']);
          await asPipeline('login', '--username', step.username, '--password', step.password, step.registry);
          await asPipeline(...buildArguments(step, context(), bases));

          const [index = '', same] = await Promise.all(
            tags.map((tag) => asPipeline('buildx', 'imagetools', 'inspect', '--raw', `${repo}:${tag}`)),
          );
          expect(same).toBe(index);
          // What else is listed says how they were made, and is for no platform.
          const images = (JSON.parse(index) as ImageIndex).manifests.filter(
            ({ platform }) => platform.os !== 'unknown',
          );
          const listed = images.map(({ platform }) => `${platform.os}/${platform.architecture}`);
          expect(listed.sort()).toEqual(['linux/amd64', 'linux/arm64']);
          expect(new Set(images.map(({ digest }) => digest)).size).toBe(images.length);

          for (const { digest, platform } of images) {
            const reference = `${repo}@${digest}`;
            const wanted = `${platform.os}/${platform.architecture}`;
            for (const name of [reference, `${repo}:main`]) await docker('pull', '--platform', wanted, name);
            expect(await imageId(`${repo}:main`)).toBe(await imageId(reference));
            const [{ Os: os, Architecture: made, Config: config }] = JSON.parse(
              await docker('image', 'inspect', reference),
            ) as [{ Os: string; Architecture: string; Config: { Labels: Record<string, string> } }];
            expect(`${os}/${made}`).toBe(wanted);
            expect(config.Labels).toMatchObject({
              'org.opencontainers.image.version': 'main-01234567',
              'org.opencontainers.image.revision': commit,
            });
            const run = ['run', '--rm', '--platform', wanted, '--network', 'none', '--entrypoint', 'node'];
            expect(await docker(...run, reference, '--print', 'os.machine()')).toBe(
              `${MACHINES[platform.architecture]}\n`,
            );
          }
        });
      });
    });

    it('come up from the developer’s compose file, and publish and load there', async () => {
      const [adminPort, loaderPort] = [await freePort(), await freePort()];
      const settings = {
        POSTGRES_IMAGE: await makeLocalPostgres(docker, directory.path, ownBase.BASE_IMAGE),
        ADMIN_API_IMAGE: `azaion/admin-api:${OWN_ARCHITECTURE}`,
        LOADER_IMAGE: `azaion/loader:${OWN_ARCHITECTURE}`,
        BOOTSTRAP_ADMIN_EMAIL: ADMINISTRATOR.email,
        BOOTSTRAP_ADMIN_PASSWORD: ADMINISTRATOR.password,
        ADMIN_PORT: String(adminPort),
        LOADER_PORT: String(loaderPort),
      };
      const file = join(directory.path, 'context', 'deploy', 'compose', 'developer.yaml');
      const composed = (...args: string[]): Promise<string> => compose(file, 'azaion', args, settings);
      await composed('up', '--detach', '--no-build');
      const loaderUrl = `http://127.0.0.1:${loaderPort}`;
      await until(answersHttp(`${loaderUrl}/health/live`), () => composed('logs', '--no-color'));

      const cli = new AzaionCommand(WORKSPACE, join(directory.path, 'compose-profile.json'));
      const content = pseudoRandomBytes('compose', 1_000_000);
      await writeFile(join(directory.path, 'composed.onnx'), content);
      await cli.run(
        ['login', '--api', `http://127.0.0.1:${adminPort}`, '--email', ADMINISTRATOR.email],
        ADMINISTRATOR.password,
      );
      await cli.run(['publish', join(directory.path, 'composed.onnx')]);
      expect((await loadedThrough(loaderUrl, 'composed.onnx')).equals(content)).toBe(true);
      await composed('down', '--volumes');
    });
  },
);

/** A model as a Loader hands it out to the administrator. */
async function loadedThrough(loaderUrl: string, name: string): Promise<Buffer> {
  const login = await fetch(`${loaderUrl}/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(ADMINISTRATOR),
  });
  const { access_token: token } = (await login.json()) as {
    access_token: string;
  };
  const loaded = await fetch(`${loaderUrl}/resources/models/${name}`, {
    headers: { authorization: `Bearer ${token}` },
  });
  expect(loaded.status).toBe(200);
  return Buffer.from(await loaded.arrayBuffer());
}
