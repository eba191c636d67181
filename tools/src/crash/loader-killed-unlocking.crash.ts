import { randomInt } from 'node:crypto';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';

import { describeWith, type DockerDaemon, imageArchive, startDockerd } from '@azaion/testing';

import { type Person, postJson, startSystem, type StartedSystem } from '../e2e/started-system.js';

/** Moments at which the unlock is killed: none counts that came before it had begun, or after its end. */
const POINTS = Number(process.env['CRASH_POINTS'] ?? 200);
const REFERENCE = 'azaion/detections:latest';
const LAYER_BYTES = 8_000_000;
/** Tokens live for 15 minutes, and logins are limited. */
const TOKEN_LIFE_MS = 8 * 60_000;

interface UnlockStatus {
  readonly state: string;
  readonly error: string | null;
}

describeWith('docker', `A Loader killed with SIGKILL at ${POINTS} random moments of an unlock (F4)`, () => {
  let docker: DockerDaemon;
  let system: StartedSystem;
  let operator: Person;
  let imageId: string;
  let token = '';
  let tokenSinceMs = -Infinity;

  beforeAll(async () => {
    docker = await startDockerd();
    system = await startSystem({ loaderEnv: { UNLOCK_RUNTIME: 'engine', DOCKER_HOST: docker.dockerHost } });
    operator = await system.createPerson('Operator');
    const archive = await imageArchive([
      { name: REFERENCE, layers: ['one', 'two', 'three'].map((seed) => ({ seed, sizeBytes: LAYER_BYTES })) },
    ]);
    [imageId = ''] = archive.imageIds;
    const publisher = await system.login(await system.createPerson('ApiAdmin'));
    const content = await buffer(archive.open());
    await system.requests.publish('azaion-latest', content, publisher, 'folder=images&kind=images');
    await cp(join(system.adminDataDir, 'objects', 'packs'), join(system.imagesDir, 'packs'), { recursive: true });
    await system.restartLoader();
  }, 180_000);
  afterAll(async () => {
    await system.stop();
    await docker.stop();
  });

  async function status(): Promise<UnlockStatus> {
    return (await (await fetch(`${system.loaderUrl}/unlock/status`)).json()) as UnlockStatus;
  }

  async function unlock(): Promise<UnlockStatus> {
    if (performance.now() - tokenSinceMs > TOKEN_LIFE_MS) {
      token = await system.login(operator);
      tokenSinceMs = performance.now();
    }
    await postJson(`${system.loaderUrl}/unlock`, {}, token);
    for (;;) {
      const now = await status();
      if (now.state === 'ready' || now.state === 'error') return now;
      await delay(20);
    }
  }

  it('says that the run was cut off, or has all of it, and unlocks when it is asked again', async () => {
    expect(await unlock()).toMatchObject({ state: 'ready' });
    docker.cli('image', 'rm', '--force', REFERENCE);
    await system.restartLoader();
    const begin = performance.now();
    expect(await unlock()).toMatchObject({ state: 'ready' });
    const wholeMs = performance.now() - begin;
    let [cutOff, kills] = [0, 0];
    for (; cutOff < POINTS; kills++) {
      docker.cli('image', 'rm', '--force', REFERENCE);
      const unlocking = unlock().catch(() => undefined);
      await delay(randomInt(Math.ceil(wholeMs)));
      process.kill(system.loader().pid, 'SIGKILL');
      await system.loader().ended;
      await unlocking;
      await system.restartLoader();
      const after = await status();
      // Killed before the first state was written, it stands where the last run ended.
      if (after.state !== 'ready') {
        expect(after).toMatchObject({ state: 'error', error: 'unlock.interrupted' });
        cutOff++;
      }
      expect(await unlock()).toMatchObject({ state: 'ready', error: null });
      expect(docker.cli('image', 'inspect', '--format', '{{.Id}}', REFERENCE)).toBe(imageId);
    }
    console.log(`${cutOff} of ${kills} kills cut an unlock off, usually ${Math.ceil(wholeMs)} ms long`);
  });
});
