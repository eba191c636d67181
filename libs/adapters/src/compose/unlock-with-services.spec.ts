import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { SystemClock } from '@azaion/kernel';
import {
  COMPOSES,
  describeWith,
  type DockerDaemon,
  findProgram,
  startDockerd,
  tempDirectory,
  type TempDirectory,
} from '@azaion/testing';
import { type ExpectedImage, UnlockImages } from '@azaion/unlock';
import { InMemoryArchiveSource, InMemoryUnlockRecords, TEST_LIMITS } from '@azaion/unlock/testing';

import { DockerCliImageRuntime } from '../docker-cli/index.js';
import { TarArchiveInspector } from '../image-archive/index.js';
import { ComposeServiceStack } from './compose-service-stack.js';

const MAX_ARCHIVE_BYTES = 64 * 1024 * 1024;
const REFERENCE = 'azaion/service:latest';

interface Archive {
  readonly bytes: Buffer;
  readonly images: readonly [ExpectedImage];
}

describe.each(COMPOSES)('With %s', (command, component) => {
  describeWith(['docker', component, 'busybox'], 'F4 with services of a compose file, in a Docker engine', () => {
    let docker: DockerDaemon;
    let directory: TempDirectory;
    beforeAll(async () => {
      docker = await startDockerd();
      directory = await tempDirectory('azaion-services');
    }, 90_000);
    afterAll(async () => {
      docker.removeContainers();
      await docker.stop();
      await directory.remove();
    }, 60_000);

    /** An archive of an image that runs a shell script; the engine has forgotten it. */
    function archiveRunning(script: string): Archive {
      const busybox = findProgram('busybox')!;
      const files = execFileSync('tar', ['-C', '/', '-cf', '-', busybox.slice(1)], { maxBuffer: MAX_ARCHIVE_BYTES });
      const change = `CMD ["${busybox}", "sh", "-c", "${script}"]`;
      docker.cliBytes(['import', '--change', change, '-', REFERENCE], files);
      const configDigest = docker.cli('image', 'inspect', '--format', '{{.Id}}', REFERENCE);
      const bytes = docker.cliBytes(['save', REFERENCE]);
      docker.cli('image', 'rm', '--force', REFERENCE);
      return { bytes, images: [{ reference: REFERENCE, configDigest, manifestDigest: null }] };
    }

    it('runs the new images, or goes back to the last good ones with their tags', async () => {
      const file = join(directory.path, 'compose.yml');
      await writeFile(
        file,
        `version: '2.4'\nservices:\n  service:\n    image: ${REFERENCE}\n    network_mode: none\n    stop_signal: SIGKILL\n`,
      );
      const [good, bad, better] = ['sleep 1000', 'exit 1', 'sleep 2000'].map(archiveRunning) as [
        Archive,
        Archive,
        Archive,
      ];
      const options = { DOCKER_HOST: docker.dockerHost };
      const runtime = new DockerCliImageRuntime({ command: 'docker', env: options });
      const compose = command.split(' ');
      const unlock = await UnlockImages.restore({
        runtime: () => Promise.resolve(runtime),
        inspector: new TarArchiveInspector(),
        records: new InMemoryUnlockRecords(),
        services: new ComposeServiceStack({ file, compose, containerCli: 'docker', env: options, settledMs: 1000 }),
        clock: new SystemClock(),
        limits: { ...TEST_LIMITS, healthTimeoutMs: 60_000 },
        onError: () => undefined,
      });
      const run = async (archive: Archive): Promise<[string, string | null]> => {
        await unlock.start({
          source: new InMemoryArchiveSource(archive, 65_536),
          authenticate: () => Promise.resolve(),
        });
        await unlock.settled();
        return [unlock.status().state, unlock.status().error];
      };
      const idOf = (reference: string): string => docker.cli('image', 'inspect', '--format', '{{.Id}}', reference);
      const runningImage = (): string => {
        const [container = ''] = docker.cli('ps', '--quiet', '--no-trunc').split('\n');
        return docker.cli('inspect', '--format', '{{.Image}}', container);
      };

      expect(await run(good)).toEqual(['ready', null]);
      expect(runningImage()).toBe(good.images[0].configDigest);

      expect(await run(bad)).toEqual(['error', 'unlock.services-unhealthy']);
      expect(runningImage()).toBe(good.images[0].configDigest);
      expect(idOf(REFERENCE)).toBe(good.images[0].configDigest);

      expect(await run(better)).toEqual(['ready', null]);
      expect(runningImage()).toBe(better.images[0].configDigest);
      expect(idOf(`${REFERENCE}-last-good`)).toBe(better.images[0].configDigest);
    }, 180_000);
  });
});
