import { existsSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import { describeWith, type DockerDaemon, imageArchive, runCommand, startDockerd } from './index.js';

describeWith('docker', 'startDockerd', () => {
  let docker: DockerDaemon;
  beforeAll(async () => {
    docker = await startDockerd();
  }, 90_000);
  afterAll(() => docker.stop(), 60_000);

  it('answers the Docker CLI with an engine that has no images', async () => {
    const cli = (...args: string[]): Promise<string> => runCommand('docker', ['-H', docker.dockerHost, ...args]);
    expect(await cli('version', '--format', '{{.Server.APIVersion}}')).toMatch(/^1\.\d+/);
    expect((await cli('image', 'ls', '--quiet')).trim()).toBe('');
    expect((await cli('info', '--format', '{{.DockerRootDir}}')).trim()).toBe(docker.dataRoot);
  });

  it('loads a generated archive under the image ids that the archive promises', async () => {
    const archive = await imageArchive([
      {
        name: 'azaion/one:1',
        layers: [
          { seed: 'base', sizeBytes: 500_000 },
          { seed: 'one', sizeBytes: 1000 },
        ],
      },
      { name: 'azaion/two:1', layers: [{ seed: 'base', sizeBytes: 500_000 }] },
    ]);
    const load = spawn('docker', ['-H', docker.dockerHost, 'load', '--quiet'], {
      stdio: ['pipe', 'ignore', 'inherit'],
    });
    const loaded = once(load, 'close');
    await pipeline(archive.open(), load.stdin);
    expect(await loaded).toEqual([0, null]);
    const ids = await runCommand('docker', ['-H', docker.dockerHost, 'image', 'ls', '--quiet', '--no-trunc']);
    expect(ids.trim().split('\n').sort()).toEqual([...archive.imageIds].sort());
  });

  it('leaves nothing behind', async () => {
    const second = await startDockerd();
    await second.stop();
    expect(existsSync(second.dataRoot)).toBe(false);
  });
});
