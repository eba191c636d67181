import { UnlockImages } from '@azaion/unlock';
import { type BeforeApplicationShutdown, Logger, Module, type OnApplicationBootstrap } from '@nestjs/common';

import { type LoaderConfig } from '../config.js';
import { type LoaderAdapters } from '../loader-adapters.js';
import { type LoaderFeature } from '../loader-feature.js';
import { OpenForCaller } from '../session/open-for-caller.js';
import { UnlockForCaller } from '../unlock/unlock-for-caller.js';
import { KeepUpToDate } from './keep-up-to-date.js';
import { Prefetch } from './prefetch.js';
import { RenewLeases } from './renew-leases.js';
import { TransferPolicy } from './transfer-policy.js';
import { UpdateLoop } from './update-loop.js';

/** Desired state: what a device should hold and run comes to it with nobody calling. Needs the unlock feature beside it. */
@Module({})
export class UpdateModule implements OnApplicationBootstrap, BeforeApplicationShutdown {
  constructor(private readonly loop: UpdateLoop) {}

  /** @param unlock - Whose module exports the unlock. */
  static register(
    config: LoaderConfig,
    adapters: LoaderAdapters,
    version: string,
    unlock: LoaderFeature,
  ): LoaderFeature {
    const module = {
      module: UpdateModule,
      imports: [unlock.module],
      providers: [
        {
          provide: UpdateLoop,
          inject: [OpenForCaller, UnlockImages, UnlockForCaller],
          useFactory: (open: OpenForCaller, images: UnlockImages, forCaller: UnlockForCaller) =>
            new UpdateLoop(...updates(config, adapters, version, open, images, forCaller)),
        },
      ],
    };
    return { module, ready: [] };
  }

  onApplicationBootstrap(): void {
    this.loop.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    await this.loop.stop();
  }
}

function updates(
  config: LoaderConfig,
  { device, leases, desired, trust, clock, time, binding }: LoaderAdapters,
  loaderVersion: string,
  open: OpenForCaller,
  images: UnlockImages,
  forCaller: UnlockForCaller,
): [number, (signal: AbortSignal) => Promise<void>] {
  const nothing: [number, () => Promise<void>] = [0, () => Promise.resolve()];
  if (device === undefined || leases === undefined || desired === undefined || time === undefined) return nothing;
  const bearer = () => device.bearer();
  const policy = new TransferPolicy(config.prefetchBytesPerSecond, config.prefetchWindow);
  const keep = new KeepUpToDate({
    api: desired,
    bearer,
    renewal: new RenewLeases({ leases, open, time, bearer, jitter: Math.random() }),
    prefetch: new Prefetch({ open, trust, policy, clock, bearer }),
    open,
    images: {
      status: () => images.status(),
      start: (wanted) => forCaller.startForDevice(wanted),
    },
    facts: { loaderVersion, binding },
    log: new Logger('Update'),
  });
  return [config.updateIntervalSeconds * 1000, (signal) => keep.run(signal)];
}
