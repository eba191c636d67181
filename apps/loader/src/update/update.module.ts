import { UnlockImages } from '@azaion/unlock';
import { type BeforeApplicationShutdown, Inject, Logger, Module, type OnApplicationBootstrap } from '@nestjs/common';

import type { LoaderConfig } from '../config.js';
import type { LoaderAdapters } from '../loader-adapters.js';
import type { LoaderFeature } from '../loader-feature.js';
import { OpenForCaller } from '../session/open-for-caller.js';
import { UnlockForCaller } from '../unlock/unlock-for-caller.js';
import { KeepUpToDate } from './keep-up-to-date.js';
import { Prefetch } from './prefetch.js';
import { RenewLeases } from './renew-leases.js';
import { TransferPolicy } from './transfer-policy.js';
import { UpdateLoop } from './update-loop.js';

/** Leases are looked at this often at least, however seldom a device asks for its desired state: the shortest last an hour. */
const LONGEST_RENEWAL_SECONDS = 300;
const LOOPS = 'azaion:update-loops';

/** Desired state: what a device should hold and run comes to it with nobody calling. Needs the unlock feature beside it. */
@Module({})
export class UpdateModule implements OnApplicationBootstrap, BeforeApplicationShutdown {
  constructor(@Inject(LOOPS) private readonly loops: readonly UpdateLoop[]) {}

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
          provide: LOOPS,
          inject: [OpenForCaller, UnlockImages, UnlockForCaller],
          useFactory: (open: OpenForCaller, images: UnlockImages, forCaller: UnlockForCaller) =>
            updates(config, adapters, version, open, images, forCaller),
        },
      ],
    };
    return { module, ready: [] };
  }

  onApplicationBootstrap(): void {
    for (const loop of this.loops) loop.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all(this.loops.map((loop) => loop.stop()));
  }
}

function updates(
  config: LoaderConfig,
  { device, leases, desired, desiredImages, trust, clock, time, binding }: LoaderAdapters,
  loaderVersion: string,
  open: OpenForCaller,
  images: UnlockImages,
  forCaller: UnlockForCaller,
): readonly UpdateLoop[] {
  if (device === undefined || leases === undefined || desired === undefined || time === undefined) return [];
  const bearer = () => device.bearer();
  const policy = new TransferPolicy(config.prefetchBytesPerSecond, config.prefetchWindow);
  const keep = new KeepUpToDate({
    api: desired,
    bearer,
    renewal: new RenewLeases({ leases, open, time, bearer, jitter: Math.random() }),
    leases,
    prefetch: new Prefetch({ open, trust, policy, clock, bearer }),
    open,
    images: {
      status: () => images.status(),
      start: (wanted) => forCaller.startVersion(wanted),
    },
    desiredImages,
    facts: { loaderVersion, binding },
    log: new Logger('Update'),
  });
  const { updateIntervalSeconds } = config;
  if (updateIntervalSeconds === 0) leases.want([]); // nobody asks
  const renewalSeconds = Math.min(
    updateIntervalSeconds === 0 ? Infinity : updateIntervalSeconds,
    LONGEST_RENEWAL_SECONDS,
  );
  return [
    new UpdateLoop(updateIntervalSeconds * 1000, (stopping, dueMs) => keep.run(stopping, dueMs), clock),
    new UpdateLoop(renewalSeconds * 1000, (stopping) => keep.renew(stopping), clock),
  ];
}
