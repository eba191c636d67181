import { readFile } from 'node:fs/promises';

import { type AppOptions, createApp, HttpProblem, type LogOptions, Metrics } from '@azaion/nest-support';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyInstance } from 'fastify';

import type { LoaderConfig } from './config.js';
import type { LoaderAdapters } from './loader-adapters.js';
import type { LoaderFeature } from './loader-feature.js';
import { LoaderModule } from './loader.module.js';
import { LoaderMetrics } from './metrics/loader-metrics.js';
import { meteredAdapters } from './metrics/metered-adapters.js';
import { Activity } from './status-page/activity.js';
import { StatusPageModule } from './status-page/status-page.module.js';

const MAX_JSON_BYTES = 64 * 1024;
/** Of the status page, beside `src` and `dist`. */
const PAGE_FILES = new URL('../public/', import.meta.url);

/** Builds the Loader's HTTP application, ready to listen. @throws Error of the file system when certificate or key cannot be read. */
export async function createLoader(
  config: LoaderConfig,
  adapters: LoaderAdapters,
  version: string,
  options: {
    readonly log?: LogOptions;
    readonly features?: readonly LoaderFeature[];
    /** Of this process; one of its own unless given. */
    readonly metrics?: Metrics;
  } = {},
): Promise<NestFastifyApplication> {
  const registry = options.metrics ?? new Metrics();
  const metrics = new LoaderMetrics(registry);
  const metered = meteredAdapters(adapters, metrics);
  const activity = new Activity(adapters.clock);
  const page = await StatusPageModule.register(PAGE_FILES, activity, adapters.device);
  const features = [...(options.features ?? []), { module: page, ready: [] }];
  const app = await createApp(LoaderModule.register(config, metered, metrics, version, features), {
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
    ...(await tlsOf(config)),
    ...(config.socket === undefined
      ? {}
      : { unixSocket: { path: config.socket, mode: Number.parseInt(config.socketMode, 8) } }),
    metrics: { registry, scrapeToken: config.metricsToken },
    ...(options.log === undefined ? {} : { log: options.log }),
  });
  const fastify: FastifyInstance = app.getHttpAdapter().getInstance();
  activity.watch(fastify);
  refuseForeignPaths(fastify);
  return app;
}

async function tlsOf({ tlsCertFile, tlsKeyFile }: LoaderConfig): Promise<Pick<AppOptions, 'tls'>> {
  if (tlsCertFile === undefined || tlsKeyFile === undefined) return {};
  const [cert, key] = await Promise.all([readFile(tlsCertFile), readFile(tlsKeyFile)]);
  return { tls: { cert, key } };
}

/** A name with separators would be no route at all: it is answered like every other bad name. */
function refuseForeignPaths(fastify: FastifyInstance): void {
  for (const prefix of ['load', 'upload'])
    fastify.post(`/${prefix}/:first/*`, () => {
      throw new HttpProblem('name.invalid', 'The file name is not valid: use letters, digits, ".", "_" and "-".');
    });
}
