import { readFile } from 'node:fs/promises';

import { ConfigError, Metrics, printConfig } from '@azaion/nest-support';
import { Logger } from '@nestjs/common';

import { type LoaderConfig, readLoaderConfig } from './config.js';
import { createLoader } from './create-loader.js';
import { openAdapters } from './open-adapters.js';
import { UnlockModule } from './unlock/unlock.module.js';

const USAGE = `Usage: node apps/loader/dist/main.js [--print-config]

Settings are environment variables; RESOURCE_API_URL is required. See docs/reference/loader-http.md.
`;

/** Starts the Loader. Sets the exit code 2 when the configuration or the command line cannot be used, 1 when the start fails otherwise. */
export async function run(): Promise<void> {
  const args = process.argv.slice(2);
  if (args.includes('--help')) {
    process.stdout.write(USAGE);
    return;
  }
  const unknown = args.find((argument) => argument !== '--print-config');
  if (unknown !== undefined) {
    refuse(USAGE);
    return;
  }
  let config: LoaderConfig;
  try {
    config = readLoaderConfig(process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    refuse(`${error.message}\n`);
    return;
  }
  if (args.includes('--print-config')) process.stdout.write(`${printConfig(config)}\n`);
  else await serve(config);
}

async function serve(config: LoaderConfig): Promise<void> {
  try {
    const adapters = await openAdapters(config);
    const metrics = new Metrics();
    metrics.watchProcess();
    const app = await createLoader(config, adapters, await releaseVersion(), {
      log: { level: config.logLevel },
      metrics,
      features: [UnlockModule.register(config, adapters)],
    });
    await app.listen(config.port, config.host);
    new Logger('Loader').log(`Listening on ${await app.getUrl()}, API description at /docs.`);
  } catch (error) {
    process.stderr.write(`The Loader cannot start: ${error instanceof Error ? error.message : 'unknown reason'}\n`);
    process.exit(1);
  }
}

async function releaseVersion(): Promise<string> {
  const manifest = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}

function refuse(message: string): void {
  process.stderr.write(message);
  process.exitCode = 2;
}
