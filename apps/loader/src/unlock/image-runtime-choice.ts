import { join } from 'node:path';

import { DockerCliImageRuntime } from '@azaion/adapters/docker-cli';
import { DirectoryImageRuntime } from '@azaion/adapters/image-directory';
import type { Clock } from '@azaion/kernel';
import type { HealthCheck } from '@azaion/nest-support';
import type { ImageRuntime } from '@azaion/unlock';

import type { LoaderConfig } from '../config.js';

/** An engine that answered is believed for so long: asking it starts a process. */
const BELIEVED_MS = 30_000;
/** A name that no image has. */
const PROBE_REFERENCE = 'azaion/no-such-image:probe';

/** Where images go: what is configured, whatever the engine does. An engine that is late must never send images, decrypted, to a disk. */
export class ImageRuntimeChoice implements HealthCheck {
  readonly name = 'container-engine';
  private readonly engine: ImageRuntime;
  private readonly directory: DirectoryImageRuntime;
  private readonly intoEngine: boolean;
  private isWanted: boolean;
  private believedUntilMs = 0;

  constructor(
    config: LoaderConfig,
    private readonly clock: Clock,
  ) {
    this.intoEngine = config.unlockRuntime === 'engine';
    this.isWanted = config.unlockOnStart;
    this.engine = new DockerCliImageRuntime({ command: config.containerCli });
    this.directory = new DirectoryImageRuntime(config.unlockDirectory ?? join(config.dataDir, 'images'));
  }

  /** The runtime for a run that starts now. */
  forRun(): Promise<ImageRuntime> {
    this.isWanted = true;
    return Promise.resolve(this.intoEngine ? this.engine : this.directory);
  }

  /** The images are where they belong: an archive that another setting of before has left in the directory is of no use any more. */
  async discardLeftovers(): Promise<void> {
    if (this.intoEngine) await this.directory.clear();
  }

  /** Whether the engine answers, where images go into one and an unlock was asked for. @throws UnlockError. */
  async check(signal: AbortSignal): Promise<void> {
    if (!this.intoEngine || !this.isWanted) return;
    if (this.clock.monotonicMs() < this.believedUntilMs) return;
    await this.engine.present([PROBE_REFERENCE], signal);
    this.believedUntilMs = this.clock.monotonicMs() + BELIEVED_MS;
  }
}
