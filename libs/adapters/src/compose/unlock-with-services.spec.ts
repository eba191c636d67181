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
import { InMemoryArchiveSource, InMemoryUnlockRecords } from '@azaion/unlock/testing';

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
      const containers = engine('ps', '--all', '--quiet').toString().split('\n').filter(Boolean);
      if (containers.length > 0) engine('rm', '--force', ...containers);
      await docker.stop();
      await directory.remove();
    }, 60_000);

    const env = (): NodeJS.ProcessEnv => ({ ...process.env, DOCKER_HOST: docker.dockerHost });
    const engine = (...args: string[]): Buffer =>
      execFileSync('docker', args, { env: env(), maxBuffer: MAX_ARCHIVE_BYTES, stdio: ['ignore', 'pipe', 'pipe'] });

    /** An archive of an image that runs a shell script; the engine has forgotten it. */
    function archiveRunning(script: string): Archive {
      const busybox = findProgram('busybox')!;
      const files = execFileSync('tar', ['-C', '/', '-cf', '-', busybox.slice(1)], { maxBuffer: MAX_ARCHIVE_BYTES });
      const change = `CMD ["${busybox}", "sh", "-c", "${script}"]`;
      execFileSync('docker', ['import', '--change', change, '-', REFERENCE], { input: files, env: env() });
      const configDigest = engine('image', 'inspect', '--format', '{{.Id}}', REFERENCE).toString().trim();
      const bytes = engine('save', REFERENCE);
      engine('image', 'rm', '--force', REFERENCE);
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
        limits: {
          leastPartBytes: Infinity,
          stall: { archive: 60_000, engine: 60_000, 'engine-end': 60_000 },
          gatePollMs: 10,
          healthTimeoutMs: 60_000,
          linkRetryMs: { first: 10, longest: 10 },
          serviceRetryMs: { first: 10, longest: 10 },
        },
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
      const idOf = (reference: string): string =>
        engine('image', 'inspect', '--format', '{{.Id}}', reference).toString().trim();
      const runningImage = (): string => {
        const [container = ''] = engine('ps', '--quiet', '--no-trunc').toString().split('\n');
        return engine('inspect', '--format', '{{.Image}}', container).toString().trim();
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
