import type { StoredBytes } from '@azaion/split-resource/adversary';
import type { Client } from 'pg';

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

function storedValue(value: unknown): Uint8Array | undefined {
  if (value === null || value === undefined) return undefined;
  if (value instanceof Uint8Array) return value;
  if (typeof value === 'string') return Buffer.from(value);
  return Buffer.from(JSON.stringify(value));
}
