import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import {
  describeWith,
  type DockerDaemon,
  findProgram,
  imageArchive,
  startBrowser,
  startDockerd,
  tempDirectory,
  type TempDirectory,
  type TestBrowser,
} from '@azaion/testing';

import { answerOf, startSystem, type StartedSystem } from './started-system.js';

const BUSYBOX = '/bin/busybox';
/** A device that starts tries to unlock at once; where it is too early for that, nothing else tells. */
const AFTER_FIRST_TRY_MS = 3000;
const CLI = fileURLToPath(new URL('../../../apps/cli/bin/azaion.js', import.meta.url));

describeWith(['docker', 'compose', 'busybox', 'browser'], 'F4 with services that cannot be started', () => {
  let docker: DockerDaemon;
  let directory: TempDirectory;
  let browser: TestBrowser;
  let system: StartedSystem;
  beforeAll(async () => {
    [docker, directory, browser] = await Promise.all([
      startDockerd(),
      tempDirectory('azaion-services'),
      startBrowser(),
    ]);
    const file = join(directory.path, 'services.yaml');
    // The settings that the service reads are not there yet.
    await writeFile(
      file,
      `version: '2.4'
services:
  detections:
    image: azaion/detections:latest
    network_mode: none
    stop_signal: SIGKILL
    env_file: settings.env
    healthcheck:
      test: ['CMD', '${BUSYBOX}', 'true']
      interval: 300ms
`,
    );
    system = await startSystem({
      loaderEnv: {
        DOCKER_HOST: docker.dockerHost,
        UNLOCK_RUNTIME: 'engine',
        UNLOCK_ON_START: 'true',
        UNLOCK_COMPOSE_FILE: file,
        COMPOSE_CLI: 'docker-compose',
      },
    });
  }, 180_000);
  afterAll(async () => {
    await system.stop();
    docker.removeContainers();
    await browser.stop();
    await docker.stop();
    await directory.remove();
  });

  const unlockStatus = () => answerOf(system.loaderApi().GET('/unlock/status'));

  async function unlocked(): Promise<Awaited<ReturnType<typeof unlockStatus>>> {
    await answerOf(system.loaderApi().POST('/unlock', { body: await system.createPerson('Operator') }));
    for (;;) {
      const status = await unlockStatus();
      if (status.state === 'ready' || status.state === 'error') return status;
      await delay(50);
    }
  }

  async function statusOfCli(): Promise<string> {
    const { stdout } = await promisify(execFile)(process.execPath, [CLI, 'status', '--loader', system.loaderUrl]);
    return stdout;
  }

  it('says when they are tried again: by status, command line and page', async () => {
    const archive = await imageArchive([
      {
        name: 'azaion/detections:latest',
        layers: [
          { seed: 'base', sizeBytes: 1000, files: { [BUSYBOX.slice(1)]: await readFile(findProgram('busybox')!) } },
        ],
        command: [BUSYBOX, 'sleep', '1000000'],
      },
    ]);
    const publisher = await system.login(await system.createPerson('ApiAdmin'));
    const content = await buffer(archive.open());
    await system.requests.publish('azaion-latest', content, publisher, 'folder=images&kind=images');

    const { error, retry } = await unlocked();
    expect({ error, attempts: retry?.attempts }).toEqual({ error: 'unlock.services-failed', attempts: 1 });
    expect(Date.parse(retry!.notBefore)).toBeGreaterThan(Date.now());
    expect(await statusOfCli()).toContain(
      `Tried 1 time; the device tries again by itself after ${retry!.notBefore}. "azaion unlock" tries at once.`,
    );
    const opened = await browser.open(system.loaderUrl);
    const { page } = opened;
    await page.locator('#unlock-retry', { hasText: 'Attempt 1. The device tries again by itself after ' }).waitFor();
    await opened.close();
  });

  it('does not try before that when the device starts anew', async () => {
    const before = await unlockStatus();
    await system.restartLoader();
    await delay(AFTER_FIRST_TRY_MS);
    expect(await unlockStatus()).toMatchObject({
      state: 'error',
      error: 'unlock.services-failed',
      retry: before.retry,
    });
    expect(docker.containers()).toEqual([]);
  });

  it('tries at once for a person, and forgets the attempts when they run', async () => {
    await writeFile(join(directory.path, 'settings.env'), 'CAMERA=front\n');
    expect(await unlocked()).toMatchObject({ state: 'ready', error: null, retry: null });
    expect(docker.cli('ps', '--format', '{{.Image}}')).toBe('azaion/detections:latest');
    expect(await statusOfCli()).not.toContain('tries again');
    const opened = await browser.open(system.loaderUrl);
    const { page } = opened;
    await page.locator('#unlock-state', { hasText: 'Ready' }).waitFor();
    expect(await page.isVisible('#unlock-retry')).toBe(false);
    await opened.close();
  });
});
