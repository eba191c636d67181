import { SystemClock } from '@azaion/kernel';
import { Metrics, openLog, runService, thisProcess } from '@azaion/nest-support';
import { Logger } from '@nestjs/common';

import { type LoaderConfig, readLoaderConfig } from './config.js';
import { createLoader } from './create-loader.js';
import { openAdapters } from './open-adapters.js';
import { UnlockModule } from './unlock/unlock.module.js';
import { UpdateModule } from './update/update.module.js';

/** Starts the Loader. Ends the process when it cannot: 2 when the configuration or the command line is not usable, else 1. */
export async function run(): Promise<void> {
  const code = await runService(
    {
      name: 'Loader',
      settings:
        'Settings are environment variables; RESOURCE_API_URL is required. See docs/reference/configuration.md.',
      manifest: new URL('../package.json', import.meta.url),
      readConfig: readLoaderConfig,
      serve,
    },
    thisProcess(),
  );
  // What a failed start has opened would keep the process alive.
  if (code !== 0) process.exit(code);
}

async function serve(config: LoaderConfig, version: string): Promise<void> {
  const log = await openLog(
    { name: 'loader', directory: config.logDir, terminal: process.stdout.isTTY },
    new SystemClock().nowMs(),
  );
  const adapters = await openAdapters(config);
  const unlock = UnlockModule.register(config, adapters);
  const metrics = new Metrics();
  metrics.watchProcess();
  const app = await createLoader(config, adapters, version, {
    log: { level: config.logLevel, destination: log },
    metrics,
    features: [unlock, UpdateModule.register(config, adapters, version, unlock)],
  });
  await app.listen(config.port, config.host);
  const logger = new Logger('Loader');
  logger.log(`Listening on ${await app.getUrl()}, API description at /docs.`);
  if (config.socket !== undefined) logger.log(`Listening on the socket ${config.socket}.`);
}
