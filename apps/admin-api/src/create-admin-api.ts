import { createApp, HttpProblem, type LogOptions } from '@azaion/nest-support';
import { type NestFastifyApplication } from '@nestjs/platform-fastify';
import { type FastifyInstance } from 'fastify';

import { AdminApiModule } from './admin-api.module.js';
import { type AdminConfig } from './config.js';
import { adminProblemOptions } from './http/problems.js';
import { type Infrastructure } from './infrastructure.js';

const MAX_JSON_BYTES = 1024 * 1024;

/** Builds the Admin API's HTTP application, ready to listen. It does not close the infrastructure. */
export async function createAdminApi(
  config: AdminConfig,
  infrastructure: Infrastructure,
  version: string,
  options: { readonly log?: LogOptions } = {},
): Promise<NestFastifyApplication> {
  const app = await createApp(AdminApiModule.register(config, infrastructure), {
    api: {
      title: 'Azaion Admin API',
      description:
        'Users, devices, sealed resources and their keys. Log in with `POST /login`, then press Authorize and paste the access token.',
      version,
    },
    validationStatus: 400,
    jsonBodyLimitBytes: MAX_JSON_BYTES,
    problems: adminProblemOptions,
    ...(config.trustedProxies.length === 0 ? {} : { trustedProxies: config.trustedProxies }),
    ...(options.log === undefined ? {} : { log: options.log }),
  });
  answerUnknownRoutesEarly(app.getHttpAdapter().getInstance());
  return app;
}

/** What does not exist is 404 whatever its body is: Fastify would read the body first. */
function answerUnknownRoutesEarly(fastify: FastifyInstance): void {
  fastify.addHook('onRequest', (request, _reply, done) => {
    done(request.is404 ? new HttpProblem('route.not-found', 'There is nothing at this address.') : undefined);
  });
}
