import { createECDH, randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

import { pseudoRandomStream, startPostgres } from '@azaion/testing';
import { Client } from 'pg';

import { startBenchSystem } from './bench-system.js';
import { generateLoad } from './http-load.js';

/**
 * What the database grows by: devices, accounts, grants with their events, versions. Prints bytes of table and indexes for each, over many of a kind.
 * The constants of docs/scale.md come from here: `node tools/dist/bench/row-sizes.js`.
 */
const DEVICES = 20_000;
const GRANTS = 2_000;
const RESOURCE_BYTES = 200 * 1000 * 1000;

const postgres = await startPostgres();
const bench = await startBenchSystem({ adminEnv: { DATABASE_URL: postgres.url() } });
const client = new Client({ connectionString: postgres.url() });
await client.connect();
try {
  const sizes = async (): Promise<ReadonlyMap<string, number>> => {
    await client.query('vacuum full');
    const { rows } = await client.query<{ name: string; bytes: string }>(
      `select relname as name, pg_total_relation_size(oid) as bytes from pg_class
       where relkind = 'r' and relnamespace = 'public'::regnamespace`,
    );
    return new Map(rows.map(({ name, bytes }) => [name, Number(bytes)]));
  };
  const grown = async (what: string, count: number, work: () => Promise<unknown>): Promise<void> => {
    const before = await sizes();
    await work();
    const growth = [...(await sizes())].flatMap(([name, bytes]): [string, number][] => {
      const each = (bytes - (before.get(name) ?? 0)) / count;
      return each > 0 ? [[name, Math.round(each)]] : [];
    });
    const sum = growth.reduce((total, [, bytes]) => total + bytes, 0);
    console.log(`${what}: ${sum} bytes (${growth.map(([name, bytes]) => `${name} ${bytes}`).join(', ')})`);
  };

  await grown('a device with its account', DEVICES, () =>
    client.query(
      `with made as (
         insert into users (id, email, password_hash, role)
         select gen_random_uuid(), 'rows-' || number || '@azaion.com', repeat('x', 97), 'CompanionPC' from generate_series(1, ${DEVICES}) number
         returning id, email)
       insert into devices (id, serial, user_id, status, created_at)
       select gen_random_uuid(), split_part(email, '@', 1), id, 'registered', now() from made`,
    ),
  );
  const file = join(bench.directory.path, 'model.bin');
  await pipeline(pseudoRandomStream('rows', RESOURCE_BYTES), createWriteStream(file));
  await grown('a version of 200 MB, all of it new', 1, () => bench.publish(file, 'model.bin'));
  const recipientPublicKey = createECDH('prime256v1').generateKeys('base64url');
  const authorization = `Bearer ${await bench.token()}`;
  await grown('a grant', GRANTS, () =>
    generateLoad({
      method: 'POST',
      url: `${bench.system.adminUrl}/sealed/models/model.bin/grants`,
      headers: { authorization },
      body: () => JSON.stringify({ recipientPublicKey, nonce: randomBytes(16).toString('base64url') }),
      expect: 201,
      requests: GRANTS,
      atOnce: 8,
    }),
  );
  const grant = await fetch(`${bench.system.adminUrl}/sealed/models/model.bin/grants`, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/json' },
    body: JSON.stringify({ recipientPublicKey, nonce: randomBytes(16).toString('base64url') }),
  });
  console.log(`the answer to a grant: ${(await grant.text()).length} bytes`);
} finally {
  await client.end();
  await bench.stop();
  await postgres.stop();
}
