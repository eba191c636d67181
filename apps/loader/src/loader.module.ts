import { TokenVerifier } from '@azaion/identity';
import { HealthModule, HealthProbes } from '@azaion/nest-support';
import {
  type DynamicModule,
  type FactoryProvider,
  Inject,
  Logger,
  Module,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
} from '@nestjs/common';

import type { LoaderConfig } from './config.js';
import { RequestBearer } from './http/request-bearer.js';
import { ResourcesController } from './http/resources.controller.js';
import { SessionController } from './http/session.controller.js';
import { StatusController } from './http/status.controller.js';
import { UploadController } from './http/upload.controller.js';
import type { LoaderAdapters } from './loader-adapters.js';
import type { LoaderFeature } from './loader-feature.js';
import { LoaderMetrics } from './metrics/loader-metrics.js';
import { CallerSessions } from './session/caller-sessions.js';
import { LogIn, LogOut } from './session/log-in.js';
import { LoginLimiter } from './session/login-limiter.js';
import { OpenForCaller } from './session/open-for-caller.js';
import { OpenSessionVerifier } from './session/open-session-verifier.js';
import { PublishForCaller } from './session/publish-for-caller.js';
import { HeldResources } from './status-page/held-resources.js';
import { LoaderStatus } from './status/loader-status.js';

/** Injection token of the {@link LoaderAdapters}. */
export const LOADER_ADAPTERS = 'azaion:loader-adapters';
/** Injection token of the {@link LoaderConfig}. */
export const LOADER_CONFIG = 'azaion:loader-config';

/** What every module of the Loader may ask for. */
@Module({})
class LoaderCoreModule {}

/** Wires the Loader's use cases to its adapters. */
@Module({})
export class LoaderModule implements OnApplicationBootstrap, OnApplicationShutdown {
  constructor(@Inject(LOADER_ADAPTERS) private readonly adapters: LoaderAdapters) {}

  /**
   * @param version - Of this release, for `/status`.
   */
  static register(
    config: LoaderConfig,
    adapters: LoaderAdapters,
    metrics: LoaderMetrics,
    version: string,
    features: readonly LoaderFeature[] = [],
  ): DynamicModule {
    return {
      module: LoaderModule,
      imports: [
        coreModule(config, adapters, metrics),
        HealthModule.register({
          useFactory: () => ({
            ready: [adapters.dataDirectory, adapters.adminApi, ...features.flatMap(({ ready }) => ready)],
            startup: [adapters.dataDirectory],
          }),
        }),
        ...features.map(({ module }) => module),
      ],
      controllers: [SessionController, ResourcesController, UploadController, StatusController],
      providers: [statusProvider(adapters, version)],
    };
  }

  onApplicationBootstrap(): void {
    new Logger('Device').log(this.adapters.bindingReason);
    this.adapters.device?.start();
  }

  async onApplicationShutdown(): Promise<void> {
    this.adapters.device?.stop();
    await this.adapters.close();
  }
}

function coreModule(config: LoaderConfig, adapters: LoaderAdapters, metrics: LoaderMetrics): DynamicModule {
  const { apis, auth, clock, sessions, sink, inspector, sealer, whileReached } = adapters;
  const verifier = new OpenSessionVerifier(adapters.verifier, sessions);
  const logger = new Logger('Session');
  const opening = new OpenForCaller(adapters);
  adapters.leasedPacks?.from(() => opening.leasedPacks());
  const providers = [
    { provide: LOADER_CONFIG, useValue: config },
    { provide: LOADER_ADAPTERS, useValue: adapters },
    { provide: LoaderMetrics, useValue: metrics },
    { provide: TokenVerifier, useValue: verifier },
    { provide: CallerSessions, useValue: sessions },
    {
      provide: LogIn,
      useValue: new LogIn(auth, verifier, new LoginLimiter(clock), clock, adapters.offline, whileReached),
    },
    { provide: LogOut, useValue: new LogOut(auth, sessions, (message) => logger.warn(message)) },
    { provide: RequestBearer, useValue: new RequestBearer(adapters.device, config.localTrust === 'session') },
    { provide: OpenForCaller, useValue: adapters.legacy?.open ?? opening },
    {
      provide: HeldResources,
      useValue: new HeldResources(
        async () => ({ held: await opening.held(), unleased: await opening.unleased() }),
        (caller, folder) => opening.maySee(caller, folder),
        () => clock.monotonicMs(),
      ),
    },
    {
      provide: PublishForCaller,
      useValue: adapters.legacy?.publish ?? new PublishForCaller(apis, sink, inspector, config.maxUploadBytes, sealer),
    },
  ];
  return {
    module: LoaderCoreModule,
    global: true,
    providers,
    exports: providers.map(({ provide }) => provide),
  };
}

function statusProvider(adapters: LoaderAdapters, version: string): FactoryProvider<LoaderStatus> {
  const { binding, bindingReason, modelCacheDir, sessions, store, device, adminApi, isOffline } = adapters;
  return {
    provide: LoaderStatus,
    inject: [HealthProbes],
    useFactory: (probes: HealthProbes) =>
      new LoaderStatus(
        { version, modelCacheDir, binding, bindingReason },
        sessions,
        store,
        device,
        isOffline ??
          (() =>
            probes.ready
              .states()
              .some(({ name, up, reason }) => name === adminApi.name && !up && reason !== 'not checked yet')),
      ),
  };
}
