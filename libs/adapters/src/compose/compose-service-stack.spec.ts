import { execFileSync } from 'node:child_process';
import { appendFile, chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import {
  COMPOSES,
  describeWith,
  type DockerDaemon,
  findProgram,
  startDockerd,
  tempDirectory,
  type TempDirectory,
} from '@azaion/testing';
import type { UnlockError } from '@azaion/unlock';

import { ComposeServiceStack } from './compose-service-stack.js';

const NEVER = new AbortController().signal;
const PATIENT_MS = 60_000;
const IMAGES = [{ reference: 'azaion/service:1', imageId: `sha256:${'0'.repeat(64)}` }];

describe.each(COMPOSES)('With %s', (command, component) => {
  describeWith(['docker', component, 'busybox'], 'ComposeServiceStack', () => {
    let docker: DockerDaemon;
    let directory: TempDirectory;
    let file: string;
    beforeAll(async () => {
      docker = await startDockerd();
      const tar = execFileSync('tar', ['-C', '/', '-cf', '-', findProgram('busybox')!.slice(1)], {
        maxBuffer: 2 ** 26,
      });
      for (const tag of ['1', '2'])
        docker.cliBytes(['import', '--change', `ENV RELEASE=${tag}`, '-', `azaion/service:${tag}`], tar);
    }, 90_000);
    afterAll(() => docker.stop(), 60_000);
    beforeEach(async () => {
      directory = await tempDirectory('azaion-compose');
      file = join(directory.path, 'compose.yml');
    });
    afterEach(async () => {
      docker.removeContainers();
      await directory.remove();
    });

    const stack = (): ComposeServiceStack =>
      new ComposeServiceStack({
        file,
        compose: command.split(' '),
        containerCli: 'docker',
        env: { DOCKER_HOST: docker.dockerHost },
        settledMs: 1500,
        answerTimeoutMs: PATIENT_MS,
      });

    /** A compose file with services of one image; each runs a shell script. */
    async function services(scripts: Readonly<Record<string, string>>, more = '', path = file): Promise<void> {
      const text = Object.entries(scripts).map(([name, script]) => service(name, script, more));
      await writeFile(path, `version: '2.4'\nservices:\n${text.join('')}`);
    }

    const service = (name: string, script: string, more: string): string => `  ${name}:
    image: azaion/service:\${API_VERSION}
    network_mode: none
    stop_signal: SIGKILL
    command: ['${findProgram('busybox')!}', 'sh', '-c', '${script}']
${more}`;

    /** As a person does. */
    const compose = (...args: string[]): string => {
      const [program = '', ...words] = command.split(' ');
      return execFileSync(program, [...words, ...args], {
        cwd: dirname(file),
        env: { ...process.env, DOCKER_HOST: docker.dockerHost, API_VERSION: '1' },
        stdio: ['ignore', 'pipe', 'pipe'],
      }).toString();
    };

    const healthCheck = (test: string): string => `    healthcheck:
      test: ['CMD', '${findProgram('busybox')!}', 'sh', '-c', '${test}']
      interval: 300ms
      timeout: 5s
      retries: 2
`;

    const running = (): string[] => docker.cli('ps', '--format', '{{.Image}}').split('\n').filter(Boolean).toSorted();

    it('brings services up from images of the given version, and replaces them by those of another', async () => {
      await services({ one: 'sleep 1000', two: 'sleep 1000' });
      await stack().up(IMAGES, PATIENT_MS, NEVER);
      expect(running()).toEqual(['azaion/service:1', 'azaion/service:1']);
      await stack().up([{ ...IMAGES[0]!, reference: 'azaion/service:2' }], PATIENT_MS, NEVER);
      expect(running()).toEqual(['azaion/service:2', 'azaion/service:2']);
    }, 120_000);

    it('waits until health checks pass', async () => {
      await services(
        { slow: 'sleep 1; touch /healthy; sleep 1000' },
        healthCheck('test -e /healthy').replace('2', '50'),
      );
      await stack().up(IMAGES, PATIENT_MS, NEVER);
      const [id = ''] = docker.cli('ps', '--quiet').split('\n');
      expect(docker.cli('inspect', '--format', '{{.State.Health.Status}}', id)).toBe('healthy');
    }, 120_000);

    it('takes a service that ended well for healthy', async () => {
      await services({ migration: 'exit 0', server: 'sleep 1000' });
      await stack().up(IMAGES, PATIENT_MS, NEVER);
    }, 120_000);

    it.each([
      ['is unhealthy by its check', 'sleep 1000', healthCheck('exit 1')],
      ['ends with an error', 'exit 3', ''],
    ])(
      'says which service %s',
      async (_, script, more) => {
        await services({ sick: script }, more);
        const refusal: unknown = await stack()
          .up(IMAGES, PATIENT_MS, NEVER)
          .catch((error: unknown) => error);
        expect(refusal).toMatchObject({ code: 'unlock.services-unhealthy' });
        expect((refusal as UnlockError).details['service']).toContain('sick');
      },
      120_000,
    );

    it('names the service for which compose itself gives up, because another one depends on it', async () => {
      await services({ sick: 'exit 3' });
      await appendFile(
        file,
        service('waiting', 'sleep 1000', '    depends_on: { sick: { condition: service_healthy } }\n'),
      );
      const refusal: unknown = await stack()
        .up(IMAGES, PATIENT_MS, NEVER)
        .catch((error: unknown) => error);
      expect(refusal).toMatchObject({ code: 'unlock.services-unhealthy' });
      expect((refusal as UnlockError).details['service']).toContain('sick');
    }, 120_000);

    it('does not look at what somebody ran once in a container of a service', async () => {
      await services({ one: 'sleep 1000' });
      await stack().up(IMAGES, PATIENT_MS, NEVER);
      expect(() =>
        compose('--project-name', 'azaion-services', 'run', '--no-deps', 'one', findProgram('busybox')!, 'false'),
      ).toThrow();
      await stack().up(IMAGES, PATIENT_MS, NEVER);
    }, 120_000);

    it('leaves the services of another compose file alone, though its directory has the same name', async () => {
      const other = join(directory.path, 'etc', 'services', 'compose.yml');
      file = join(directory.path, 'opt', 'services', 'compose.yml');
      for (const path of [other, file]) await mkdir(dirname(path), { recursive: true });
      await services({ loader: 'sleep 1000' }, '', other);
      compose('--file', other, 'up', '--detach');
      await services({ one: 'sleep 1000' });
      await stack().up(IMAGES, PATIENT_MS, NEVER);
      expect(running()).toHaveLength(2);
    }, 120_000);

    it('gives up on a service that is started again and again', async () => {
      await services({ crashing: 'sleep 0.3; exit 1' }, '    restart: always\n');
      await expect(stack().up(IMAGES, 4000, NEVER)).rejects.toMatchObject({ code: 'unlock.services-unhealthy' });
    }, 120_000);

    it.each([
      ['names an image that is not there', 'services:\n  a:\n    image: azaion/missing:1\n    network_mode: none\n'],
      ['is no compose file', 'nonsense: ['],
      ['has no service', "version: '2.4'\nservices: {}\n"],
    ])(
      'says that a file cannot be brought up that %s',
      async (_, text) => {
        await writeFile(file, text);
        await expect(stack().up(IMAGES, PATIENT_MS, NEVER)).rejects.toMatchObject({ code: 'unlock.services-failed' });
      },
      120_000,
    );

    it('stops waiting with the reason of an abort', async () => {
      await services({ slow: 'sleep 1000' }, healthCheck('exit 1').replace('retries: 2', 'retries: 1000'));
      const abort = new AbortController();
      const up = stack().up(IMAGES, PATIENT_MS, abort.signal);
      await untilRunning();
      abort.abort(new Error('enough'));
      await expect(up).rejects.toThrow('enough');
    }, 120_000);

    async function untilRunning(): Promise<void> {
      while (running().length === 0) await new Promise((resolve) => setTimeout(resolve, 50));
    }
  });
});

describe('ComposeServiceStack without compose', () => {
  let directory: TempDirectory;
  beforeEach(async () => {
    directory = await tempDirectory('azaion-compose');
  });
  afterEach(() => directory.remove());

  it('says that there is none', async () => {
    const missing = join(directory.path, 'missing');
    const stack = new ComposeServiceStack({ file: 'x.yml', compose: [missing], containerCli: 'docker' });
    await expect(stack.up(IMAGES, 1000, NEVER)).rejects.toThrow('COMPOSE_CLI');
  });

  it.each([
    ['compose', 'exec tail -f /dev/null'],
    ['compose with a process of its own', 'tail -f /dev/null & wait'],
    ['the engine', 'case "$*" in *ps*) echo 0123456789ab;; *inspect*) exec tail -f /dev/null;; esac'],
  ])('gives up on %s that hangs', async (_, script) => {
    const command = join(directory.path, 'docker');
    await writeFile(command, `#!/bin/sh\n${script}\n`);
    await chmod(command, 0o755);
    const stack = new ComposeServiceStack({ file: 'x.yml', compose: [command, 'compose'], containerCli: command });
    await expect(stack.up(IMAGES, 300, NEVER)).rejects.toMatchObject({
      code: 'unlock.services-failed',
      message: expect.stringContaining('in time') as string,
    });
  });

  it('gives up on compose with a process that has left its group and holds its output', async () => {
    const command = join(directory.path, 'docker');
    // It ends by itself, whatever becomes of this test.
    const leaving = `setsid sh -c 'echo $$ > "$0.pid"; exec sleep 120' "$0" & wait`;
    await writeFile(command, `#!/bin/sh\n${leaving}\n`);
    await chmod(command, 0o755);
    const stack = new ComposeServiceStack({ file: 'x.yml', compose: [command, 'compose'], containerCli: command });
    let left = 0;
    try {
      // On a slow machine it has not left its group when the time is over: then with more time.
      for (const limitMs of [300, 3_000, 30_000]) {
        await expect(stack.up(IMAGES, limitMs, NEVER)).rejects.toMatchObject({ code: 'unlock.services-failed' });
        left = await pidIn(`${command}.pid`);
        if (left > 0) break;
      }
      expect(left).toBeGreaterThan(0);
      process.kill(left, 0); // it lives: what held the output was not the end of it
    } finally {
      if (left > 0) process.kill(left, 'SIGKILL');
    }
  }, 60_000);

  it('calls the plugin with the words that it was given, the version of the images, and the directory of the file', async () => {
    const command = join(directory.path, 'docker');
    await writeFile(command, `#!/bin/sh\necho "$API_VERSION $*" >> ${join(directory.path, 'calls')}\nexit 1\n`);
    await chmod(command, 0o755);
    await mkdir(join(directory.path, 'site'));
    const file = join(directory.path, 'site', 'compose.yml');
    const stack = new ComposeServiceStack({ file, compose: [command, 'compose'], containerCli: command });
    await expect(stack.up(IMAGES, 1000, NEVER)).rejects.toMatchObject({ code: 'unlock.services-failed' });
    const call = `1 compose --project-name azaion-services --file ${file} --project-directory ${join(directory.path, 'site')}`;
    expect(await readFile(join(directory.path, 'calls'), 'utf8')).toBe(
      `${call} up --detach --remove-orphans --no-build\n${call} ps --all --quiet\n`,
    );
  });
});

/** The process id that a process writes into a file; 0 when it has not done so after two seconds. */
async function pidIn(path: string): Promise<number> {
  for (let attempt = 0; attempt < 40; attempt++) {
    const pid = Number(await readFile(path, 'utf8').catch(() => ''));
    if (pid > 0) return pid;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return 0;
}
