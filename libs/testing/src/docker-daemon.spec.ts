import { existsSync } from 'node:fs';
import { describeWith, type DockerDaemon, runCommand, startDockerd } from './index.js';

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

  it('leaves nothing behind', async () => {
    const second = await startDockerd();
    await second.stop();
    expect(existsSync(second.dataRoot)).toBe(false);
  });
});
