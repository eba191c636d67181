import { readFile } from 'node:fs/promises';

import { ConfigError, Metrics, printConfig } from '@azaion/nest-support';
import { Logger } from '@nestjs/common';
import { type NestFastifyApplication } from '@nestjs/platform-fastify';

import { type AdminConfig, listensOnLoopback, readAdminConfig } from './config.js';
import { createAdminApi, prepareAdminApi } from './create-admin-api.js';
import { type Infrastructure, openInfrastructure } from './infrastructure.js';
import { maintain, MAINTENANCE_USAGE, maintenanceOf } from './maintenance.js';
import { codeOf } from './persistence/database.js';
import { Housekeeping } from './persistence/housekeeping.js';
import { CollectPacks } from './sealed/collect-packs.js';
import { VerifierLoop } from './sealed/verifier-loop.js';
import { VerifyVersions } from './sealed/verify-versions.js';

const HOUSEKEEPING_INTERVAL_MS = 10 * 60_000;
const USAGE = `Usage: node apps/admin-api/dist/main.js [--print-config]
       node apps/admin-api/dist/main.js COMMAND

Commands, beside the running service with the same settings:
${MAINTENANCE_USAGE}
Settings are environment variables, all with defaults in development. See docs/reference/admin-http.md.
`;

/** Starts the Admin API. Sets the exit code 2 when the configuration or the command line cannot be used, 1 when the start fails otherwise. */
export async function run(): Promise<void> {
  const args = process.argv.slice(2);
  if (args.includes('--help')) {
    process.stdout.write(USAGE);
    return;
  }
  const maintenance = maintenanceOf(args);
  if (maintenance === undefined && args.some((argument) => argument !== '--print-config')) {
    refuse(USAGE);
    return;
  }
  let config: AdminConfig;
  try {
    config = readAdminConfig(process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    refuse(`${error.message}\n`);
    return;
  }
  if (args.includes('--print-config')) process.stdout.write(`${printConfig(config)}\n`);
  else if (maintenance !== undefined) process.exitCode = await maintain(config, maintenance, process.stdout);
  else await serve(config);
}

async function serve(config: AdminConfig): Promise<void> {
  let infrastructure: Infrastructure | undefined;
  try {
    infrastructure = await openInfrastructure(config);
    const metrics = new Metrics();
    metrics.watchProcess();
    const app = await createAdminApi(config, infrastructure, await releaseVersion(), {
      log: { level: config.logLevel },
      metrics,
    });
    await prepareAdminApi(app, config, (email, password) =>
      // Its only appearance: not in the log, which others keep.
      process.stderr.write(
        `First start: the administrator ${email} has the password ${password.reveal()} (shown only now).\n`,
      ),
    );
    closeAfter(app, infrastructure, config);
    await app.listen(config.port, config.host);
    infrastructure.reachedAt(localUrl(app));
    const logger = new Logger('AdminApi');
    if (config.publicUrl === undefined && config.s3Bucket === undefined && !listensOnLoopback(config))
      logger.warn('ADMIN_PUBLIC_URL is not set: packs can be reached from this machine only.');
    logger.log(`Listening on ${await app.getUrl()}, API description at /docs.`);
  } catch (error) {
    await infrastructure?.close();
    process.stderr.write(`The Admin API cannot start: ${error instanceof Error ? error.message : 'unknown reason'}\n`);
    process.exit(1);
  }
}

/** Connections to the database end after the last request has been answered. */
function closeAfter(app: NestFastifyApplication, infrastructure: Infrastructure, config: AdminConfig): void {
  const housekeeping = app.get(Housekeeping);
  const logger = new Logger('Housekeeping');
  const collection = app.get(CollectPacks);
  const round = (): void => {
    for (const work of [housekeeping, collection])
      work.run().catch((error: unknown) => logger.warn(`A round failed: ${codeOf(error)}.`));
  };
  const timer = setInterval(round, HOUSEKEEPING_INTERVAL_MS).unref();
  const verifying = new Logger('Verifier');
  const verifier = new VerifierLoop(app.get(VerifyVersions), (error) =>
    verifying.warn(`A version could not be checked: ${codeOf(error)}. It is tried again.`),
  );
  if (config.verifier) verifier.start();
  app
    .getHttpAdapter()
    .getInstance()
    .addHook('onClose', async () => {
      clearInterval(timer);
      await verifier.stop();
      await infrastructure.close();
    });
}

function localUrl(app: NestFastifyApplication): string {
  const address = app.getHttpServer().address() as { readonly port: number };
  return `http://127.0.0.1:${address.port}`;
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
