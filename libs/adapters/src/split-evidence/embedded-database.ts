import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

import { Client } from 'pg';

/** Connects to the embedded PostgreSQL of a running Admin API, as somebody who has got hold of its database would. */
export async function connectToEmbeddedDatabase(adminData: string): Promise<Client> {
  // Absolute: anything else would be taken for the name of a machine.
  const home = resolve(await embeddedPostgresHome(adminData));
  const sockets = (await readText(join(home, 'run-at'))) ?? join(home, 'run');
  const client = new Client({
    host: sockets,
    port: 5432,
    user: 'azaion',
    database: 'postgres',
    password: (await readText(join(home, 'password'))) ?? '',
  });
  await client.connect();
  return client;
}

/** Connects to a PostgreSQL of one's own. @param url - As `DATABASE_URL` of the Admin API. */
export async function connectToDatabase(url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  await client.connect();
  return client;
}

/** Where the embedded PostgreSQL of an Admin API keeps its files: it may lie apart, where the database's own user can reach it. */
export async function embeddedPostgresHome(adminData: string): Promise<string> {
  return (await readText(join(adminData, 'postgres-home'))) ?? join(adminData, 'postgres');
}

async function readText(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').then(
    (text) => text.trim(),
    () => undefined,
  );
}
