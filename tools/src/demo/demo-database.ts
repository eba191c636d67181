import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { Client } from 'pg';

import { type StoredBytes } from '../adversary/stored-bytes.js';

const STOP_PATIENCE_MS = 10_000;

/** Connects to the embedded PostgreSQL of a running Admin API, as somebody who has got hold of its database would. */
export async function connectToDemoDatabase(adminData: string): Promise<Client> {
  const home = await postgresHome(adminData);
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

/** Every value of every row of every table, by the table's and column's name. */
export async function dumpDatabase(client: Client): Promise<StoredBytes[]> {
  const tables = await client.query<{ table_name: string }>(
    `select table_name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE' order by 1`,
  );
  const values: StoredBytes[] = [];
  for (const { table_name: table } of tables.rows) {
    const { rows } = await client.query<Record<string, unknown>>(`select * from ${client.escapeIdentifier(table)}`);
    rows.forEach((row, index) => {
      for (const [column, value] of Object.entries(row)) {
        const bytes = storedValue(value);
        if (bytes !== undefined) values.push({ where: `${table}.${column}[${index}]`, bytes });
      }
    });
  }
  return values;
}

/**
 * Stops a database server that its Admin API left running because it was killed.
 *
 * @param adminData - The Admin API's data directory; it must not be running any more.
 */
export async function stopLeftoverPostgres(adminData: string): Promise<void> {
  const pidFile = join(await postgresHome(adminData), 'cluster', 'postmaster.pid');
  const pid = Number((await readText(pidFile))?.split('\n')[0]);
  if (!Number.isSafeInteger(pid) || pid <= 1 || !isRunning(pid)) return;
  process.kill(pid, 'SIGINT'); // PostgreSQL's "fast shutdown"
  const deadlineMs = performance.now() + STOP_PATIENCE_MS;
  while (isRunning(pid) && performance.now() < deadlineMs) await delay(50);
}

/** Where the embedded PostgreSQL of an Admin API keeps its files: it may lie apart, where the database's own user can reach it. */
export async function postgresHome(adminData: string): Promise<string> {
  return (await readText(join(adminData, 'postgres-home'))) ?? join(adminData, 'postgres');
}

async function readText(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').then(
    (text) => text.trim(),
    () => undefined,
  );
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function storedValue(value: unknown): Uint8Array | undefined {
  if (value === null || value === undefined) return undefined;
  if (value instanceof Uint8Array) return value;
  if (typeof value === 'string') return Buffer.from(value);
  return Buffer.from(JSON.stringify(value));
}
