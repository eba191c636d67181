import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { DockerCliImageRuntime } from '@azaion/adapters/docker-cli';
import { DirectoryImageRuntime } from '@azaion/adapters/image-directory';
import { ManualClock } from '@azaion/kernel';
import { tempDirectory, type TempDirectory } from '@azaion/testing';

import { readLoaderConfig } from '../config.js';
import { ImageRuntimeChoice } from './image-runtime-choice.js';

const NEVER = new AbortController().signal;

describe('ImageRuntimeChoice', () => {
  const clock = new ManualClock(0);
  let directory: TempDirectory;
  let told: string[];
  beforeEach(async () => {
    directory = await tempDirectory('azaion-choice');
    told = [];
  });
  afterEach(() => directory.remove());

  const choice = (mode: string): ImageRuntimeChoice =>
    new ImageRuntimeChoice(
      readLoaderConfig({
        RESOURCE_API_URL: 'https://api.example',
        UNLOCK_RUNTIME: mode,
        CONTAINER_CLI: join(directory.path, 'cli'),
        LOADER_DATA_DIR: directory.path,
      }),
      clock,
      (message) => told.push(message),
    );

  /** From now on the CLI fails with these words. An engine that answers says that it does not have the image. */
  async function engineSays(words: string): Promise<void> {
    await writeFile(join(directory.path, 'cli'), `#!/bin/sh\necho '${words}' >&2\nexit 1\n`);
    await chmod(join(directory.path, 'cli'), 0o755);
  }
  const engineIsUp = (): Promise<void> => engineSays('Error: No such image: x');
  const engineIsDown = (): Promise<void> => engineSays('Cannot connect to the Docker daemon');

  it('with "auto" asks again at each run until the engine has answered, and stays with it then', async () => {
    const auto = choice('auto');
    expect(await auto.forRun(NEVER)).toBeInstanceOf(DirectoryImageRuntime);
    await engineIsDown();
    expect(await auto.forRun(NEVER)).toBeInstanceOf(DirectoryImageRuntime);
    await engineIsUp();
    expect(await auto.forRun(NEVER)).toBeInstanceOf(DockerCliImageRuntime);
    await engineIsDown();
    expect(await auto.forRun(NEVER)).toBeInstanceOf(DockerCliImageRuntime);
    expect(told).toEqual([
      'Images are written into a directory for an orchestrator to import.',
      'Images are loaded into the container engine.',
    ]);
  });

  it.each([
    ['engine', DockerCliImageRuntime],
    ['directory', DirectoryImageRuntime],
  ])('with "%s" asks nobody', async (mode, expected) => {
    expect(await choice(mode).forRun(NEVER)).toBeInstanceOf(expected);
  });

  it('stops asking with the reason of an abort', async () => {
    await engineIsUp();
    await expect(choice('auto').forRun(AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
  });

  describe('as a health check', () => {
    it.each(['directory', 'auto'])('needs no engine with "%s" before one has answered', async (mode) => {
      await expect(choice(mode).check(NEVER)).resolves.toBeUndefined();
    });

    it('is down while the engine is, and believes an engine that answered for 30 seconds', async () => {
      const engine = choice('engine');
      await expect(engine.check(NEVER)).rejects.toMatchObject({ code: 'unlock.engine-not-installed' });
      await engineIsDown();
      await expect(engine.check(NEVER)).rejects.toMatchObject({ code: 'unlock.engine-unreachable' });
      await engineIsUp();
      await engine.check(NEVER);
      await engineIsDown();
      clock.advance(29_999);
      await engine.check(NEVER);
      clock.advance(1);
      await expect(engine.check(NEVER)).rejects.toMatchObject({ code: 'unlock.engine-unreachable' });
    });

    it('watches the engine that "auto" has chosen', async () => {
      await engineIsUp();
      const auto = choice('auto');
      await auto.forRun(NEVER);
      await engineIsDown();
      await expect(auto.check(NEVER)).rejects.toMatchObject({ code: 'unlock.engine-unreachable' });
    });
  });
});
