import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Database } from './database.js';
import { EmbeddedPostgres } from './embedded-postgres.js';

describe('EmbeddedPostgres', () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'azaion-pg-spec-'));
    await chmod(directory, 0o755); // root's database user must reach it
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it('keeps its data over a restart and takes over a server that was left running', async () => {
    const first = await EmbeddedPostgres.start(directory);
    const database = new Database(first.connection);
    await database.migrate();
    await database.queries.insertInto('rate_limits').values({ key: 'kept', count: 7, resets_at: new Date() }).execute();
    await database.close();
    await first.stop();

    const second = await EmbeddedPostgres.start(directory);
    const adopted = await EmbeddedPostgres.start(directory); // the first owner died without stopping it
    const again = new Database(adopted.connection);
    try {
      await again.migrate();
      expect(await again.queries.selectFrom('rate_limits').select('count').execute()).toEqual([{ count: 7 }]);
    } finally {
      await again.close();
      await second.stop();
    }
  });
});
