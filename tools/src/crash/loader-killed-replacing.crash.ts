import { randomInt } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';

import {
  COMPOSES,
  descendantsOf,
  describeWith,
  type DockerDaemon,
  findProgram,
  imageArchive,
  startDockerd,
  tempDirectory,
  type TempDirectory,
} from '@azaion/testing';

import { startSystem, type StartedSystem } from '../e2e/started-system.js';

/** Moments at which a Loader ends, for each compose: none counts at which the run was over. */
const POINTS = Number(process.env['CRASH_POINTS'] ?? 200);
const SERVICES = ['detections', 'flights'];
const BUSYBOX = '/bin/busybox';
/** Tokens live for 15 minutes, and logins are limited. */
const TOKEN_LIFE_MS = 8 * 60_000;
/** More than any way back takes; what is still not as promised then is looked at. */
const SETTLED_WITHIN_MS = 5 * 60_000;
interface UnlockStatus {
  readonly state: string;
  readonly progress: { readonly phase: string } | null;
}

/** A published version: the image of each service. */
interface Release {
  readonly version: number;
  readonly imageIds: readonly string[];
}

describe.each(COMPOSES)('With %s', (compose, component) => {
  describeWith(
    ['docker', component, 'busybox'],
    `a Loader that ends at ${POINTS} random moments while services are replaced (F4)`,
    () => {
      let docker: DockerDaemon;
      let directory: TempDirectory;
      let system: StartedSystem;
      let busybox: Buffer;
      let releases = 0;
      let token = '';
      let tokenSinceMs = -Infinity;

      beforeAll(async () => {
        docker = await startDockerd();
        directory = await tempDirectory('azaion-replacing');
        busybox = await readFile(findProgram('busybox')!);
        const file = join(directory.path, 'services.yaml');
        await writeFile(file, `version: '2.4'\nservices:\n${SERVICES.map(serviceText).join('')}`);
        system = await startSystem({
          loaderEnv: {
            DOCKER_HOST: docker.dockerHost,
            UNLOCK_RUNTIME: 'engine',
            UNLOCK_ON_START: 'true',
            UNLOCK_COMPOSE_FILE: file,
            COMPOSE_CLI: compose,
          },
        });
      }, 180_000);
      afterAll(async () => {
        await system.stop();
        docker.removeContainers();
        await docker.stop();
        await directory.remove();
      });

      async function freshToken(): Promise<string> {
        if (performance.now() - tokenSinceMs > TOKEN_LIFE_MS) {
          token = await system.login(await system.createPerson('ApiAdmin'));
          tokenSinceMs = performance.now();
        }
        return token;
      }

      /** Publishes the next version. The health check of a sick one fails. */
      async function publish(healthy: boolean): Promise<Release> {
        releases++;
        const archive = await imageArchive(
          SERVICES.map((service, at) => ({
            name: `azaion/${service}:latest`,
            layers: [
              { seed: 'base', sizeBytes: 1000, files: { [BUSYBOX.slice(1)]: busybox } },
              {
                seed: `${service} ${releases}`,
                sizeBytes: 1000,
                files: healthy || at === 0 ? { healthy: Buffer.from('yes') } : {},
              },
            ],
            command: [BUSYBOX, 'sleep', '1000000'],
          })),
        );
        const content = await buffer(archive.open());
        const where = 'folder=images&kind=images';
        const answer = await system.requests.upload('azaion-latest', content, await freshToken(), where);
        expect(answer.status).toBe(200);
        const { version } = (await answer.json()) as { version: number };
        return { version, imageIds: archive.imageIds };
      }

      async function startUnlock(): Promise<void> {
        const headers = { authorization: `Bearer ${await freshToken()}` };
        const answer = await fetch(`${system.loaderUrl}/unlock`, { method: 'POST', headers });
        expect(answer.status).toBe(200);
      }

      async function unlockStatus(): Promise<UnlockStatus> {
        return (await (await fetch(`${system.loaderUrl}/unlock/status`)).json()) as UnlockStatus;
      }

      /** Waits until the device says so. What it says instead is the failure. */
      async function untilStatus(expected: object): Promise<void> {
        const deadlineMs = performance.now() + SETTLED_WITHIN_MS;
        for (;;) {
          const status = await unlockStatus();
          if (performance.now() > deadlineMs) expect(status).toMatchObject(expected);
          else if (!isLike(status, expected)) await delay(50);
          else return;
        }
      }

      /** What runs, service by service; a container too many, or one that stands, is seen as well. */
      const running = (): string[] =>
        docker
          .containers()
          .map((id) => docker.cli('inspect', '--format', '{{.Name}} {{.State.Health.Status}} {{.Image}}', id))
          .toSorted();

      const asIn = ({ imageIds }: Release): unknown[] =>
        SERVICES.map(
          (service, at) => expect.stringMatching(`[-_]${service}[-_]1 healthy ${imageIds[at]!}$`) as unknown,
        );

      const ENDINGS: readonly (() => Promise<void>)[] = [
        // As in a container or a unit of systemd: everything that it has started ends with it.
        async () => {
          const { pid, ended } = system.loader();
          for (const one of [pid, ...(await descendantsOf(pid))]) killed(one);
          await ended;
        },
        // What it has started goes on.
        async () => {
          system.loader().kill('SIGKILL');
          await system.loader().ended;
        },
        async () => {
          expect((await system.loader().stop()).signal).not.toBe('SIGKILL');
        },
      ];

      it('runs the new images or the last good ones afterwards, as a whole, and says which', async () => {
        let good = await publish(true);
        const readyMs = await durationMs(async () => {
          await startUnlock();
          await untilStatus({ state: 'ready', loaded: { version: good.version } });
        });
        expect(running()).toEqual(asIn(good));
        await publish(false);
        const backMs = await durationMs(async () => {
          await startUnlock();
          await untilStatus({ state: 'error', error: 'unlock.services-unhealthy', loaded: { version: good.version } });
        });
        expect(running()).toEqual(asIn(good));

        const endedIn: Record<string, number> = {};
        // A good one after each sick one: no state is that of the point before.
        let cutOff = 0;
        for (let point = 0; cutOff < POINTS; point++) {
          const healthy = point % 2 === 0;
          const next = await publish(healthy);
          await startUnlock();
          await delay(randomInt(Math.ceil(healthy ? readyMs : backMs)));
          const { state, progress } = await unlockStatus();
          endedIn[progress?.phase ?? state] = (endedIn[progress?.phase ?? state] ?? 0) + 1;
          if (progress !== null) cutOff++;
          await ENDINGS[Math.floor(point / 2) % ENDINGS.length]!();
          await system.restartLoader();
          if (healthy) good = next;
          await untilStatus({
            loaded: { version: good.version },
            ...(healthy ? { state: 'ready', error: null } : { state: 'error', error: 'unlock.services-unhealthy' }),
          });
          expect(running()).toEqual(asIn(good));
          for (const [at, service] of SERVICES.entries())
            for (const reference of [`azaion/${service}:latest`, `azaion/${service}:latest-last-good`])
              expect(docker.cli('image', 'inspect', '--format', '{{.Id}}', reference)).toBe(good.imageIds[at]);
        }
        console.log(`${compose}: ${cutOff} runs cut off; ends in ${JSON.stringify(endedIn)}`);
      });
    },
  );
});

function serviceText(service: string): string {
  return `  ${service}:
    image: azaion/${service}:latest
    network_mode: none
    stop_signal: SIGKILL
    healthcheck:
      test: ['CMD', '${BUSYBOX}', 'test', '-e', '/healthy']
      interval: 300ms
      timeout: 10s
      retries: 2
`;
}

async function durationMs(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

function killed(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // it ended with its parent
  }
}

function isLike(status: UnlockStatus, expected: object): boolean {
  try {
    expect(status).toMatchObject(expected);
    return true;
  } catch {
    return false;
  }
}
