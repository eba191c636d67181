import { describeWith, type DockerDaemon, startDockerd } from '@azaion/testing';
import { describeImageRuntime } from '@azaion/unlock/testing';

import { DockerCliImageRuntime } from './docker-cli-image-runtime.js';

describeWith('docker', 'DockerCliImageRuntime with docker', () => {
  let daemon: DockerDaemon;
  beforeAll(async () => {
    daemon = await startDockerd();
  });
  afterAll(() => daemon.stop());

  describeImageRuntime('DockerCliImageRuntime', () =>
    Promise.resolve(new DockerCliImageRuntime({ command: 'docker', env: { DOCKER_HOST: daemon.dockerHost } })),
  );
});
