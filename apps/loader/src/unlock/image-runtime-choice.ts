import { join } from 'node:path';

import { DockerCliImageRuntime } from '@azaion/adapters/docker-cli';
import { DirectoryImageRuntime } from '@azaion/adapters/image-directory';
import { type Clock } from '@azaion/kernel';
import { type HealthCheck } from '@azaion/nest-support';
import { type ImageRuntime, UnlockError } from '@azaion/unlock';

import { type LoaderConfig } from '../config.js';

const PROBE_TIMEOUT_MS = 5000;
/** An engine that answered is believed for so long: asking it starts a process. */
const BELIEVED_MS = 30_000;
/** A name that no image has. */
const PROBE_REFERENCE = 'azaion/no-such-image:probe';

/** Where images go, as configured. */
export class ImageRuntimeChoice implements HealthCheck {
  readonly name = 'container-engine';
  private readonly engine: ImageRuntime;
  private readonly directory: ImageRuntime;
  private readonly mode: LoaderConfig['unlockRuntime'];
  private engineAnswered = false;
  private believedUntilMs = 0;
  private told: string | undefined;

  /** @param log - Told what was chosen, whenever that changes. */
  constructor(
    config: LoaderConfig,
    private readonly clock: Clock,
    private readonly log: (message: string) => void,
  ) {
    this.mode = config.unlockRuntime;
    this.engine = new DockerCliImageRuntime({ command: config.containerCli });
    this.directory = new DirectoryImageRuntime(config.unlockDirectory ?? join(config.dataDir, 'images'));
  }

  /** The runtime for a run that starts now. With `auto`: the container engine once it has answered, until then a directory. */
  async forRun(signal: AbortSignal): Promise<ImageRuntime> {
    if (this.mode === 'auto') this.engineAnswered ||= await answers(this.engine, signal);
    const intoEngine = this.mode === 'engine' || this.engineAnswered;
    this.tell(
      intoEngine
        ? 'Images are loaded into the container engine.'
        : 'Images are written into a directory for an orchestrator to import.',
    );
    return intoEngine ? this.engine : this.directory;
  }

  /** Whether the engine answers, where images go into one. A directory needs none. @throws UnlockError. */
  async check(signal: AbortSignal): Promise<void> {
    if (this.mode === 'directory' || (this.mode === 'auto' && !this.engineAnswered)) return;
    if (this.clock.monotonicMs() < this.believedUntilMs) return;
    await this.engine.present([PROBE_REFERENCE], signal);
    this.believedUntilMs = this.clock.monotonicMs() + BELIEVED_MS;
  }

  private tell(message: string): void {
    if (this.told !== message) this.log(message);
    this.told = message;
  }
}

async function answers(engine: ImageRuntime, signal: AbortSignal): Promise<boolean> {
  try {
    await engine.present([PROBE_REFERENCE], AbortSignal.any([signal, AbortSignal.timeout(PROBE_TIMEOUT_MS)]));
    return true;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof UnlockError || (error instanceof Error && error.name === 'TimeoutError')) return false;
    throw error;
  }
}
