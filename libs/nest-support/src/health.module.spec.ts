import { type Caller, TokenVerifier } from '@azaion/identity';
import { DomainError } from '@azaion/kernel';
import { Injectable, Module } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';

import { createApp, HealthModule, HealthProbes, undeclaredRoutes } from './index.js';

@Injectable()
class Database {
  failure: Error | undefined;
  started = false;
}

@Module({ providers: [Database], exports: [Database] })
class DatabaseModule {}

class NobodyVerifier extends TokenVerifier {
  override keyFor(): Promise<never> {
    return Promise.reject(new Error('unused'));
  }
  override verify(): Promise<Caller> {
    return Promise.reject(new Error('unused'));
  }
}

@Module({
  imports: [
    HealthModule.register({
      imports: [DatabaseModule],
      inject: [Database],
      useFactory: (database: Database) => ({
        intervalMs: 3_600_000,
        ready: [
          {
            name: 'database',
            check: () => (database.failure ? Promise.reject(database.failure) : Promise.resolve()),
          },
        ],
        startup: [
          {
            name: 'caches',
            check: () => (database.started ? Promise.resolve() : Promise.reject(new Error('not yet'))),
          },
        ],
      }),
    }),
  ],
  providers: [{ provide: TokenVerifier, useClass: NobodyVerifier }],
})
class AppModule {}

describe('health probes', () => {
  let app: NestFastifyApplication;
  let probes: HealthProbes;
  let database: Database;

  beforeEach(async () => {
    app = await createApp(AppModule, {
      api: { title: 'Health', description: '', version: '1' },
      validationStatus: 400,
      log: { level: 'silent' },
    });
    await app.listen(0, '127.0.0.1');
    probes = app.get(HealthProbes);
    database = app.get(Database, { strict: false });
  });
  afterEach(() => app.close());

  async function probe(name: string): Promise<{ status: number; body: unknown }> {
    const response = await fetch(`${await app.getUrl()}/health/${name}`);
    expect(response.headers.get('cache-control')).toBe('no-store');
    return { status: response.status, body: await response.json() };
  }

  it('need no token and declare it', () => expect(undeclaredRoutes(app)).toEqual([]));

  it('say that the event loop turns, whatever else is down', async () => {
    database.failure = new Error('down');
    await probes.ready.round();
    expect(await probe('live')).toEqual({ status: 200, body: { status: 'ok', info: {}, error: {}, details: {} } });
  });

  it('name what is missing to serve', async () => {
    await probes.ready.round();
    expect(await probe('ready')).toMatchObject({
      status: 200,
      body: { status: 'ok', info: { database: { status: 'up' } } },
    });
    database.failure = new DomainError('x.y', 'The database does not answer.');
    await probes.ready.round();
    expect(await probe('ready')).toMatchObject({
      status: 503,
      body: { status: 'error', error: { database: { status: 'down', message: 'The database does not answer.' } } },
    });
  });

  it('say when the start is complete, and keep to it', async () => {
    await probes.startup.round();
    expect(await probe('startup')).toMatchObject({ status: 503, body: { error: { caches: { status: 'down' } } } });
    database.started = true;
    await probes.startup.round();
    expect(await probe('startup')).toMatchObject({ status: 200 });
    database.started = false;
    await probes.startup.round();
    expect(await probe('startup')).toMatchObject({ status: 200 });
  });
});
