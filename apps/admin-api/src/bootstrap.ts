import { SystemClock } from '@azaion/kernel';
import { Metrics, openLog, type OpenLog, runService, thisProcess } from '@azaion/nest-support';
import { Logger } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';

import { AuditChain } from './audit/audit-chain.js';
import { type Background, repeat } from './background.js';
import { type AdminConfig, listensOnLoopback, readAdminConfig } from './config.js';
import { createAdminApi, prepareAdminApi } from './create-admin-api.js';
import { type Infrastructure, openInfrastructure } from './infrastructure.js';
import { TOKEN_KEY_INTERVAL_MS, TokenKeys } from './keys/token-keys.js';
import { maintenanceCommands } from './maintenance.js';
import { codeOf } from './persistence/database.js';
import { Housekeeping } from './persistence/housekeeping.js';
import { isUnavailable } from './persistence/unavailable.js';
import { CollectPacks } from './sealed/collect-packs.js';
import { CompactPacks } from './sealed/compact-packs.js';
import { VerifierLoop } from './sealed/verifier-loop.js';
import { VerifyVersions } from './sealed/verify-versions.js';

/** Events are in the chain within a second. */
const AUDIT_INTERVAL_MS = 500;

/** Starts the Admin API. Ends the process when it cannot: 2 when the configuration or the command line is not usable, else 1. */
export async function run(): Promise<void> {
  const code = await runService(
    {
      name: 'Admin API',
      settings:
        'Settings are environment variables, all with defaults in development. See docs/reference/configuration.md.',
      manifest: new URL('../package.json', import.meta.url),
      readConfig: readAdminConfig,
      serve,
      commands: maintenanceCommands(process.stdout),
    },
    thisProcess(),
  );
  // What a failed start has opened would keep the process alive.
  if (code !== 0) process.exit(code);
}

async function serve(config: AdminConfig, version: string): Promise<void> {
  const log = await openLog({ name: 'admin-api', terminal: process.stdout.isTTY }, new SystemClock().nowMs());
  const infrastructure = await openInfrastructure(config);
  try {
    await listen(config, infrastructure, version, log);
  } catch (error) {
    await infrastructure.close();
    throw error;
  }
}

async function listen(
  config: AdminConfig,
  infrastructure: Infrastructure,
  version: string,
  log: OpenLog,
): Promise<void> {
  const metrics = new Metrics();
  metrics.watchProcess();
  const app = await createAdminApi(config, infrastructure, version, {
    log: { level: config.logLevel, destination: log },
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
}

/** Connections to the database end after the last request has been answered. */
function closeAfter(app: NestFastifyApplication, infrastructure: Infrastructure, config: AdminConfig): void {
  const housekeepingMs = config.housekeepingSeconds * 1000;
  const background = [
    inBackground('Housekeeping', () => app.get(Housekeeping).run(), housekeepingMs),
    inBackground('CollectPacks', () => app.get(CollectPacks).run(), housekeepingMs),
    inBackground('TokenKeys', () => app.get(TokenKeys).refresh(), TOKEN_KEY_INTERVAL_MS),
    inBackground('AuditChain', () => app.get(AuditChain).link(), AUDIT_INTERVAL_MS),
  ];
  const verifying = new Logger('Verifier');
  const verifier = new VerifierLoop(app.get(VerifyVersions), (error) => {
    if (!isUnavailable(error)) verifying.warn(`A version could not be checked: ${codeOf(error)}. It is tried again.`);
  });
  if (config.verifier) {
    verifier.start();
    // It reads content, too.
    const compacting = new Logger('CompactPacks');
    const compact = async (stopped: AbortSignal): Promise<void> => {
      const { compacted, freedBytes, left } = await app.get(CompactPacks).run(stopped);
      if (compacted + left > 0)
        compacting.log(`Compacted ${compacted} packs, ${freedBytes} bytes less; ${left} are left as they are.`);
    };
    background.push(inBackground('CompactPacks', compact, housekeepingMs));
  }
  app
    .getHttpAdapter()
    .getInstance()
    .addHook('onClose', async () => {
      for (const work of background) await work.stop();
      await verifier.stop();
      await infrastructure.close();
    });
}

function inBackground(name: string, work: (stopped: AbortSignal) => Promise<unknown>, pauseMs: number): Background {
  const logger = new Logger(name);
  return repeat(work, pauseMs, (error) => {
    // Of an outage of the database the log tells once, not with every round.
    if (!isUnavailable(error)) logger.warn(`A round failed: ${codeOf(error)}.`);
  });
}

function localUrl(app: NestFastifyApplication): string {
  const address = app.getHttpServer().address() as { readonly port: number };
  return `http://127.0.0.1:${address.port}`;
}
