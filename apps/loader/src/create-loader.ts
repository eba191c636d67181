import { createApp, HttpProblem, type LogOptions } from '@azaion/nest-support';
import { type DynamicModule } from '@nestjs/common';
import { type NestFastifyApplication } from '@nestjs/platform-fastify';
import { type FastifyInstance } from 'fastify';

import { type LoaderConfig } from './config.js';
import { type LoaderAdapters } from './loader-adapters.js';
import { LoaderModule } from './loader.module.js';

const MAX_JSON_BYTES = 64 * 1024;

/** Builds the Loader's HTTP application, ready to listen. */
export async function createLoader(
  config: LoaderConfig,
  adapters: LoaderAdapters,
  version: string,
  options: { readonly log?: LogOptions; readonly features?: readonly DynamicModule[] } = {},
): Promise<NestFastifyApplication> {
  const app = await createApp(LoaderModule.register(config, adapters, version, options.features), {
    api: {
      title: 'Azaion Loader',
      description:
        'Opens encrypted models and images on an edge device. Log in with `POST /login`, then press Authorize and paste the access token.',
      version,
    },
    validationStatus: 422,
    jsonBodyLimitBytes: MAX_JSON_BYTES,
    allowedHosts: config.allowedHosts.map((name) => name.toLowerCase()),
    // One byte more than is accepted: the publish itself refuses what is too long.
    multipart: { limits: { fileSize: config.maxUploadBytes + 1, files: 2, fields: 4, fieldSize: 1024, parts: 6 } },
    ...(options.log === undefined ? {} : { log: options.log }),
  });
  refuseForeignPaths(app.getHttpAdapter().getInstance());
  return app;
}

/** A name with separators would be no route at all: it is answered like every other bad name. */
function refuseForeignPaths(fastify: FastifyInstance): void {
  for (const prefix of ['load', 'upload'])
    fastify.post(`/${prefix}/:first/*`, () => {
      throw new HttpProblem('name.invalid', 'The file name is not valid: use letters, digits, ".", "_" and "-".');
    });
}
