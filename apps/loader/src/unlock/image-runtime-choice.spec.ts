import { access, chmod, mkdir, readdir, writeFile } from 'node:fs/promises';
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
  beforeEach(async () => {
    directory = await tempDirectory('azaion-choice');
  });
  afterEach(() => directory.remove());

  const choice = (env: Record<string, string> = {}): ImageRuntimeChoice =>
    new ImageRuntimeChoice(
      readLoaderConfig({
        RESOURCE_API_URL: 'https://api.example',
        CONTAINER_CLI: join(directory.path, 'cli'),
        LOADER_DATA_DIR: directory.path,
        ...env,
      }),
      clock,
    );

  /** From now on the CLI fails with these words. An engine that answers says that it does not have the image. */
  async function engineSays(words: string): Promise<void> {
    await writeFile(join(directory.path, 'cli'), `#!/bin/sh\necho '${words}' >&2\nexit 1\n`);
    await chmod(join(directory.path, 'cli'), 0o755);
  }
  const engineIsUp = (): Promise<void> => engineSays('Error: No such image: x');
  const engineIsDown = (): Promise<void> => engineSays('Cannot connect to the Docker daemon');

  it.each([
    ['is not installed', undefined],
    ['is down', 'Cannot connect to the Docker daemon'],
    ['may not be used', 'permission denied while trying to connect to the Docker daemon socket'],
    ['answers', 'Error: No such image: x'],
  ])('is the engine unless a directory is named as such, also while the engine %s', async (_, words) => {
    if (words !== undefined) await engineSays(words);
    expect(await choice().forRun()).toBeInstanceOf(DockerCliImageRuntime);
    expect(await choice({ UNLOCK_RUNTIME: 'engine' }).forRun()).toBeInstanceOf(DockerCliImageRuntime);
    expect(await choice({ UNLOCK_RUNTIME: 'directory' }).forRun()).toBeInstanceOf(DirectoryImageRuntime);
  });

  it('knows no setting by which images go where nobody said', () => {
    expect(() => choice({ UNLOCK_RUNTIME: 'auto' })).toThrow('UNLOCK_RUNTIME');
  });

  it('takes away the decrypted archive that another setting has left, and nothing beside it', async () => {
    const images = join(directory.path, 'images');
    const leave = async (): Promise<void> => {
      await mkdir(images, { recursive: true });
      for (const name of ['azaion-images.tar', 'azaion-images.json', 'azaion-images.tar.00.partial', 'other.tar'])
        await writeFile(join(images, name), 'plaintext');
    };
    await leave();
    await choice().discardLeftovers();
    expect(await readdir(images)).toEqual(['other.tar']);
    await leave();
    await choice({ UNLOCK_RUNTIME: 'directory' }).discardLeftovers();
    expect(await readdir(images)).toHaveLength(4);
  });

  it('has nothing to take away where no directory is', async () => {
    await choice().discardLeftovers();
    await expect(access(join(directory.path, 'images'))).rejects.toThrow('ENOENT');
  });

  describe('as a health check', () => {
    it('needs no engine for a directory, and none before an unlock was asked for', async () => {
      await engineIsDown();
      await choice({ UNLOCK_RUNTIME: 'directory', UNLOCK_ON_START: 'true' }).check(NEVER);
      const engine = choice();
      await engine.check(NEVER);
      await engine.forRun();
      await expect(engine.check(NEVER)).rejects.toMatchObject({ code: 'unlock.engine-unreachable' });
    });

    it('is down while the engine is, and believes an engine that answered for 30 seconds', async () => {
      const engine = choice({ UNLOCK_ON_START: 'true' });
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
  });
});
