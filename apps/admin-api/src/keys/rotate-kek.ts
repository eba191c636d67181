import { CryptoError, type KeyPurpose, type KeyVault } from '@azaion/crypto';
import { sql } from 'kysely';

import type { AuditLog } from '../audit/audit-log.js';
import type { Database, Queries } from '../persistence/database.js';
import { WRAPPED_FOR } from './signing-keys.js';

const ROWS_AT_ONCE = 100;
/** Rows that somebody holds locked are come back to. */
const MAX_ROUNDS = 120;
const ROUND_PAUSE_MS = 500;

/** A column whose values a key vault wrapped, and how a value's row is named. */
interface WrappedColumn {
  readonly table: string;
  readonly column: string;
  /** Columns of the primary key. */
  readonly key: readonly string[];
  readonly purpose: (row: WrappedRow) => KeyPurpose;
  /** The row id that stands in the associated data. */
  readonly rowId: (row: WrappedRow) => string;
  /** Columns that purpose or row id need beside the primary key. */
  readonly further?: readonly string[];
}

type WrappedRow = Readonly<Record<string, unknown>> & { readonly wrapped: Buffer };

/**
 * Every wrapped column of the schema. A column of this kind is called `wrapped…`: that a new one stands here too is checked by a test and
 * before a rotation calls itself complete.
 */
const WRAPPED_COLUMNS: readonly WrappedColumn[] = [
  {
    table: 'signing_keys',
    column: 'wrapped_private',
    key: ['kid'],
    further: ['purpose'],
    purpose: (row) => WRAPPED_FOR[text(row, 'purpose') as keyof typeof WRAPPED_FOR],
    rowId: (row) => text(row, 'kid'),
  },
  {
    table: 'service_secrets',
    column: 'wrapped',
    key: ['name'],
    purpose: () => 'service',
    rowId: (row) => text(row, 'name'),
  },
  {
    table: 'device_challenges',
    column: 'wrapped_ephemeral',
    key: ['nonce_hash'],
    purpose: () => 'service',
    rowId: (row) => (row['nonce_hash'] as Buffer).toString('hex'),
  },
  {
    table: 'folders',
    column: 'wrapped_device_root',
    key: ['id'],
    purpose: () => 'folder',
    rowId: (row) => `${text(row, 'id')}/devices`,
  },
  {
    table: 'dedup_domains',
    column: 'wrapped_key',
    key: ['folder_id', 'number'],
    purpose: () => 'folder',
    rowId: (row) => `${text(row, 'folder_id')}/${text(row, 'number')}`,
  },
  {
    table: 'versions',
    column: 'wrapped_recipe_key',
    key: ['resource_id', 'version'],
    purpose: () => 'recipe',
    rowId: (row) => `${text(row, 'resource_id')}/${text(row, 'version')}`,
  },
  {
    table: 'legacy_contents',
    column: 'wrapped_key',
    key: ['id'],
    purpose: () => 'service',
    rowId: (row) => text(row, 'id'),
  },
  {
    table: 'key_fragments',
    column: 'wrapped',
    key: ['archive'],
    purpose: () => 'key-fragment',
    rowId: (row) => text(row, 'archive'),
  },
];

/** What a rotation came to. */
export interface KekRotation {
  /** Rows wrapped anew by this run. */
  readonly rewrapped: number;
  /** Values in the whole database that are still wrapped under an earlier key of the vault, in any binary column of any table. */
  readonly left: number;
}

/**
 * Wraps every wrapped row under the vault's current KEK. It works beside running replicas: a row is locked only while its batch of 100 is
 * written, rows that others hold are come back to, and what is done stays done when it is cut off at any point.
 * Source: docs/how-to/rotate-keys.md.
 */
export class RotateKek {
  constructor(
    private readonly database: Database,
    private readonly vault: KeyVault,
    private readonly audit: AuditLog,
  ) {}

  /**
   * @param pauseMs - Between two rounds while rows are left.
   * @returns With `left > 0` when replicas still wrap under an earlier key, or hold rows for a long time: run it again.
   * @throws CryptoError `keys.wrapped-invalid` for a row that opens under no key of the vault; Error when the schema has a wrapped column that is not known here.
   */
  async run(pauseMs = ROUND_PAUSE_MS): Promise<KekRotation> {
    await this.assertAllKnown();
    let rewrapped = 0;
    for (let round = 1; ; round += 1) {
      for (const column of WRAPPED_COLUMNS) rewrapped += await this.rewrap(column);
      const left = await this.left();
      if (left === 0 || round === MAX_ROUNDS) {
        await this.audit.record(this.database.queries, {
          event: 'kek.rotated',
          actor: { id: 'system', address: '' },
          subject: 'kek',
          details: { rewrapped, left },
        });
        return { rewrapped, left };
      }
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  /**
   * Counts what is wrapped under earlier keys by the names that wrapped values begin with, over every binary column of every table: also of
   * tables that nobody thought of.
   */
  async left(): Promise<number> {
    const [, ...earlier] = await this.vault.prefixes();
    if (earlier.length === 0) return 0;
    const on = this.database.queries;
    const prefixes = sql.join(earlier.map((prefix) => sql`${Buffer.from(prefix)}`));
    const length = earlier[0]?.length ?? 0;
    let left = 0;
    for (const { table, column } of await binaryColumns(on)) {
      const { rows } = await sql<{ readonly count: number }>`select count(*) as count from ${sql.table(table)}
        where substring(${sql.ref(column)} from 1 for ${sql.lit(length)}) in (${prefixes})`.execute(on);
      left += rows[0]?.count ?? 0;
    }
    return left;
  }

  private async rewrap(column: WrappedColumn): Promise<number> {
    let rewrapped = 0;
    for (;;) {
      const batch = await this.database.transaction((on) => this.rewrapBatch(on, column));
      rewrapped += batch;
      if (batch === 0) return rewrapped;
    }
  }

  private async rewrapBatch(on: Queries, column: WrappedColumn): Promise<number> {
    const [current] = await this.vault.prefixes();
    if (current === undefined) return 0;
    const names = [...column.key, ...(column.further ?? [])];
    const wrapped = sql.ref(column.column);
    const { rows } = await sql<WrappedRow>`select ${sql.join(names.map((name) => sql.ref(name)))}, ${wrapped} as wrapped
      from ${sql.table(column.table)}
      where ${wrapped} is not null and substring(${wrapped} from 1 for ${sql.lit(current.length)}) <> ${Buffer.from(current)}
      limit ${sql.lit(ROWS_AT_ONCE)} for no key update skip locked`.execute(on);
    for (const row of rows) {
      const purpose = column.purpose(row);
      const rowId = column.rowId(row);
      const secret = await this.vault.unwrap(purpose, rowId, row.wrapped).catch((cause: unknown) => {
        throw cause instanceof CryptoError
          ? new CryptoError(cause.code, `${column.table}.${column.column}, row ${rowId}: ${cause.message}`, { cause })
          : cause;
      });
      const anew = await this.vault.wrap(purpose, rowId, secret).finally(() => secret.fill(0));
      const same = sql.join(
        column.key.map((name) => sql`${sql.ref(name)} = ${row[name]}`),
        sql` and `,
      );
      await sql`update ${sql.table(column.table)} set ${wrapped} = ${Buffer.from(anew)} where ${same}`.execute(on);
    }
    return rows.length;
  }

  private async assertAllKnown(): Promise<void> {
    const unknown = (await binaryColumns(this.database.queries)).filter(
      ({ table, column }) =>
        column.startsWith('wrapped') &&
        !WRAPPED_COLUMNS.some((known) => known.table === table && known.column === column),
    );
    if (unknown.length > 0)
      throw new Error(
        `The database has wrapped columns that this release does not know: ${unknown.map(({ table, column }) => `${table}.${column}`).join(', ')}. Rotate with the release that made them.`,
      );
  }
}

async function binaryColumns(on: Queries): Promise<readonly { readonly table: string; readonly column: string }[]> {
  const { rows } = await sql<{ readonly table: string; readonly column: string }>`
    select c.table_name as table, c.column_name as column
    from information_schema.columns c
    join information_schema.tables t using (table_schema, table_name)
    where c.table_schema = current_schema() and t.table_type = 'BASE TABLE' and c.data_type = 'bytea'
    order by 1, 2`.execute(on);
  return rows;
}

function text(row: WrappedRow, column: string): string {
  return String(row[column]);
}
