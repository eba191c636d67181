export { type CliResult, ContainerCli, type ContainerCliOptions } from './container-cli.js';
export { DockerCliImageRuntime } from './docker-cli-image-runtime.js';
