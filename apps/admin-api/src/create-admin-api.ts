import { CryptoError } from '@azaion/crypto';
import type { Secret } from '@azaion/kernel';
import { createApp, type LogOptions, Metrics } from '@azaion/nest-support';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';

import { AdminApiModule } from './admin-api.module.js';
import { watchAdminApi } from './admin-metrics.js';
import type { AdminConfig } from './config.js';
import { adminProblemOptions } from './http/problems.js';
import { AccountGuard } from './http/standing.js';
import type { Infrastructure } from './infrastructure.js';
import { MAX_LEGACY_FILE_BYTES } from './legacy/legacy-files.js';
import { SERVICE_SECRETS, ServiceSecrets } from './keys/service-secrets.js';
import { StatementAuthority } from './keys/statement-authority.js';
import { TrustedStatements } from './keys/trusted-statements.js';
import { TokenKeys } from './keys/token-keys.js';
import { CurrentStanding } from './sealed/current-standing.js';
import { PasswordCosts } from './tokens/password-costs.js';
import { BootstrapAdministrator } from './users/bootstrap-administrator.js';

const MAX_JSON_BYTES = 1024 * 1024;
/** Who calls is looked up at every request; only the signature of its token is not verified at each. */
const TOKEN_MEMORY_MS = 10_000;
/** Went with the hardware binding (ADR 0002). */
const RETIRED_PATHS = ['/users/hardware/set', '/resources/check'];

/** Builds the Admin API's HTTP application, ready to listen. It does not close the infrastructure. */
export async function createAdminApi(
  config: AdminConfig,
  infrastructure: Infrastructure,
  version: string,
  options: { readonly log?: LogOptions; readonly metrics?: Metrics } = {},
): Promise<NestFastifyApplication> {
  const metrics = options.metrics ?? new Metrics();
  watchAdminApi(metrics, infrastructure.database);
  const app = await createApp(AdminApiModule.register(config, infrastructure), {
    api: {
      title: 'Azaion Admin API',
      description:
        'Users, devices, sealed resources and their keys. Log in with `POST /login`, then press Authorize and paste the access token.',
      version,
    },
    validationStatus: 400,
    jsonBodyLimitBytes: MAX_JSON_BYTES,
    multipart: { limits: { fileSize: MAX_LEGACY_FILE_BYTES + 1, files: 2, fields: 4, fieldSize: 1024, parts: 6 } },
    retiredPaths: RETIRED_PATHS,
    problems: adminProblemOptions,
    metrics: { registry: metrics, scrapeToken: config.metricsToken },
    tokenMemory: { clock: infrastructure.clock, ageMs: TOKEN_MEMORY_MS },
    allowedOrigins: config.corsOrigins,
    ...(config.trustedProxies.length === 0 ? {} : { trustedProxies: config.trustedProxies }),
    ...(options.log === undefined ? {} : { log: options.log }),
  });
  app.useGlobalGuards(new AccountGuard(app.get(CurrentStanding)));
  return app;
}

/**
 * What must be so before the first request: there is an administrator, and readers will accept what is signed here.
 *
 * @param tell - Receives the first administrator's password when it was made up: stored nowhere else.
 * @throws Error with a sentence for the operator.
 */
export async function prepareAdminApi(
  app: NestFastifyApplication,
  config: AdminConfig,
  tell: (email: string, password: Secret<string>) => void,
): Promise<void> {
  for (const name of SERVICE_SECRETS) await openedByKek(app.get(ServiceSecrets).get(name));
  const first = { email: config.bootstrapEmail, password: config.bootstrapPassword };
  await app.get(BootstrapAdministrator).run(first, tell);
  await app.get(PasswordCosts).learn();
  await app.get(StatementAuthority).start();
  await app.get(TrustedStatements).signAll();
  // Made or opened now, so that what is wrong with it shows at the start.
  await app.get(TokenKeys).signing();
}

/** Says what to do when the database and the key file do not belong together: after a restore, mostly. */
async function openedByKek(secret: Promise<unknown>): Promise<void> {
  try {
    await secret;
  } catch (cause) {
    if (!(cause instanceof CryptoError) || cause.code !== 'keys.wrapped-invalid') throw cause;
    throw new CryptoError(
      'keys.kek-invalid',
      'The key-encryption keys do not open what the database holds (keys.kek-invalid): give the service the KEK file that belongs to this database. Without it nothing in it can be opened.',
      { cause },
    );
  }
}
