import { join } from 'node:path';

import { DockerCliImageRuntime } from '@azaion/adapters/docker-cli';
import { DirectoryImageRuntime } from '@azaion/adapters/image-directory';
import { type ImageRuntime, UnlockError } from '@azaion/unlock';

import { type LoaderConfig } from '../config.js';

const PROBE_TIMEOUT_MS = 5000;
/** A name that no image has. */
const PROBE_REFERENCE = 'azaion/no-such-image:probe';

/**
 * Where images go, as configured. With `auto`: into the container engine if it answers now, else into a directory.
 *
 * @param log - Told what was chosen.
 */
export async function chooseImageRuntime(config: LoaderConfig, log: (message: string) => void): Promise<ImageRuntime> {
  const engine = new DockerCliImageRuntime({ command: config.containerCli });
  const path = config.unlockDirectory ?? join(config.dataDir, 'images');
  if (config.unlockRuntime === 'engine') return engine;
  if (config.unlockRuntime === 'auto' && (await answers(engine))) {
    log('Images are loaded into the container engine.');
    return engine;
  }
  log('Images are written into a directory for an orchestrator to import.');
  return new DirectoryImageRuntime(path);
}

/** Whether the engine answers. @param runtime - Any runtime; a directory always does. */
export async function answers(runtime: ImageRuntime): Promise<boolean> {
  try {
    await runtime.present([PROBE_REFERENCE], AbortSignal.timeout(PROBE_TIMEOUT_MS));
    return true;
  } catch (error) {
    if (error instanceof UnlockError || (error instanceof Error && error.name === 'TimeoutError')) return false;
    throw error;
  }
}
