import { join } from 'node:path';

import { ComposeServiceStack } from '@azaion/adapters/compose';
import { TokenVerifier } from '@azaion/identity';
import { DomainError } from '@azaion/kernel';
import { type ServiceStack, UnlockImages } from '@azaion/unlock';
import { type BeforeApplicationShutdown, Logger, Module, type OnApplicationBootstrap } from '@nestjs/common';

import { type LoaderConfig, unlockResourceOf } from '../config.js';
import type { LoaderAdapters } from '../loader-adapters.js';
import type { LoaderFeature } from '../loader-feature.js';
import { LoaderMetrics } from '../metrics/loader-metrics.js';
import { LogIn } from '../session/log-in.js';
import { OpenForCaller } from '../session/open-for-caller.js';
import { ArchiveChoice } from './archive-choice.js';
import { FileFlightGate } from './file-flight-gate.js';
import { FileUnlockRecords } from './file-unlock-records.js';
import { ImageRuntimeChoice } from './image-runtime-choice.js';
import { UnlockController } from './unlock.controller.js';
import { UnlockEvents } from './unlock-events.js';
import { UnlockForCaller } from './unlock-for-caller.js';
import { UnlockOnStart } from './unlock-on-start.js';

/** No byte for so long is a stall. The engine unpacks a whole archive after its last byte, which may take a while on a slow disk. */
const STALL_LIMITS_MS = { archive: 120_000, engine: 120_000, 'engine-end': 20 * 60_000 };
const LEAST_PART_BYTES = 48 * 1024 * 1024;
const LINK_RETRY_MS = { first: 2000, longest: 60_000 };
/** Each attempt stops the services that run; whoever mends the compose file or the engine meanwhile may start one by hand. */
const SERVICE_RETRY_MS = { first: 60_000, longest: 6 * 3_600_000 };
const GATE_POLL_MS = 1000;
/** Where nobody names another one. */
const FLIGHT_GATE_FILE = '/run/azaion/in-flight';

/** Unlock of the container images (F4, F5). */
@Module({})
export class UnlockModule implements OnApplicationBootstrap, BeforeApplicationShutdown {
  constructor(
    private readonly unlock: UnlockImages,
    private readonly events: UnlockEvents,
    private readonly onStart: UnlockOnStart,
  ) {}

  /** A feature of the Loader; it injects what the Loader's core exports. */
  static register(config: LoaderConfig, adapters: LoaderAdapters): LoaderFeature {
    const { apis, clock, inspector, device, desiredImages } = adapters;
    const logger = new Logger('Unlock');
    const report = (error: unknown): void => reportTo(logger, error);
    const choice = new ImageRuntimeChoice(config, clock);
    const module = {
      module: UnlockModule,
      controllers: [UnlockController],
      providers: [
        {
          provide: UnlockImages,
          inject: [LoaderMetrics],
          useFactory: async (metrics: LoaderMetrics) => {
            const unlock = await UnlockImages.restore({
              runtime: () => choice.forRun(),
              inspector,
              records: new FileUnlockRecords(join(config.dataDir, 'unlock.json')),
              clock,
              gate: new FileFlightGate(config.flightGateFile ?? FLIGHT_GATE_FILE, config.flightGateFile !== undefined),
              services: servicesOf(config),
              limits: {
                leastPartBytes: LEAST_PART_BYTES,
                stall: STALL_LIMITS_MS,
                gatePollMs: GATE_POLL_MS,
                healthTimeoutMs: config.unlockHealthTimeoutSeconds * 1000,
                linkRetryMs: LINK_RETRY_MS,
                serviceRetryMs: SERVICE_RETRY_MS,
              },
              onError: report,
            });
            unlock.subscribe(() => {
              if (unlock.status().state === 'ready') choice.discardLeftovers().catch(report);
            });
            metrics.watchUnlock(unlock, () => clock.monotonicMs());
            return unlock;
          },
        },
        {
          provide: UnlockEvents,
          useFactory: (unlock: UnlockImages) => new UnlockEvents(unlock, clock.nowMs()),
          inject: [UnlockImages],
        },
        {
          provide: UnlockForCaller,
          useFactory: (unlock: UnlockImages, open: OpenForCaller, logIn: LogIn, verifier: TokenVerifier) =>
            new UnlockForCaller({
              unlock,
              archives: new ArchiveChoice(config),
              open,
              apis,
              logIn,
              verifier,
              device,
              desired: desiredImages,
              resource: unlockResourceOf(config),
            }),
          inject: [UnlockImages, OpenForCaller, LogIn, TokenVerifier],
        },
        {
          provide: UnlockOnStart,
          useFactory: (unlock: UnlockImages, forCaller: UnlockForCaller) =>
            new UnlockOnStart(unlock, () => forCaller.startOnBoot(), report, config.unlockOnStart),
          inject: [UnlockImages, UnlockForCaller],
        },
      ],
      exports: [UnlockImages, UnlockForCaller],
    };
    return { module, ready: [choice] };
  }

  onApplicationBootstrap(): void {
    void this.onStart.run();
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.onStart.stop();
    await this.unlock.stop();
    this.events.close();
  }
}

/** Services that are brought up from the images, where a compose file names them. */
function servicesOf(config: LoaderConfig): ServiceStack | undefined {
  const { unlockComposeFile: file, composeCli, containerCli } = config;
  return file === undefined
    ? undefined
    : new ComposeServiceStack({ file, compose: composeCli.split(' '), containerCli });
}

/** The log gets the code and the cause's own words; a stack only for what nobody expected. */
function reportTo(logger: Logger, error: unknown): void {
  if (!(error instanceof DomainError)) logger.error(error);
  else {
    const { code, message, cause } = error as DomainError;
    const because = cause instanceof Error ? ` (${cause.message})` : '';
    logger.warn(`${code}: ${message}${because}`);
  }
}
