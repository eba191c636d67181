import { AsyncLocalStorage } from 'node:async_hooks';

import { Kysely, PostgresDialect, type PostgresPool, type PostgresPoolClient, type Transaction } from 'kysely';
import { Migrator } from 'kysely/migration';
import pg from 'pg';

import { assertAdoptable } from './adoption.js';
import { foundation } from './migrations/0001-foundation.js';
import { references } from './migrations/0002-references.js';
import { verification } from './migrations/0010-verification.js';
import { pinnedVersions } from './migrations/0011-pinned-versions.js';
import { sparsePacks } from './migrations/0012-sparse-packs.js';
import { draftLimits } from './migrations/0013-draft-limits.js';
import { packCounts } from './migrations/0014-pack-counts.js';
import { draftIndex } from './migrations/0015-draft-index.js';
import { compactedPacks } from './migrations/0016-compacted-packs.js';
import { folderPolicies } from './migrations/0020-folder-policies.js';
import { audit } from './migrations/0021-audit.js';
import { keySchedule } from './migrations/0022-key-schedule.js';
import { legacyResources } from './migrations/0023-legacy-resources.js';
import { legacyOwners } from './migrations/0024-legacy-owners.js';
import { legacyQuota } from './migrations/0025-legacy-quota.js';
import { adoptedColumns } from './migrations/0026-adopted-columns.js';
import { auditCheckpoints } from './migrations/0027-audit-checkpoints.js';
import { fleet } from './migrations/0030-fleet.js';
import { recordedLogins } from './migrations/0031-recorded-logins.js';
import { attestation } from './migrations/0050-attestation.js';
import { referenceBootStates } from './migrations/0051-reference-boot-states.js';
import type { Outages } from './outages.js';
import type { Schema } from './schema.js';
import { grantServiceRole, type SERVICE_ROLE } from './service-role.js';
import { isOfServer, isVictim, reasonOf, unavailable } from './unavailable.js';

/** The database, or one transaction on it. */
export type Queries = Kysely<Schema> | Transaction<Schema>;

const INT8_OID = 20;
/** What holds locks longer than this has lost its way. */
const MAX_WAIT_MS = 120_000;
/** By then the server itself has given a statement up. */
const ANSWER_WAIT_MS = MAX_WAIT_MS + 10_000;
/** PostgreSQL's `insufficient_privilege`. */
const NOT_PERMITTED = '42501';
const OWNERSHIP =
  'the login of DATABASE_MIGRATION_URL, else of DATABASE_URL, must own every table that is there, an older system’s "users" too, and may create others';

type TypeParsers = (oid: number, format: 'text' | 'binary') => (value: string) => unknown;

/** What `pg` connects with: a URL, or the parts of the embedded server. */
export type ConnectionSettings =
  | { readonly connectionString: string }
  | {
      readonly host: string;
      readonly port: number;
      readonly user: string;
      readonly password: string;
      readonly database: string;
    };

/**
 * A statement that almost every request needs: each connection parses and plans it once. Everything else is built and planned where it is
 * needed, which costs more than most statements take to run.
 */
export interface PreparedStatement {
  /** Of this text alone, at most 63 characters. */
  readonly name: string;
  /** With every column by its name: a migration may add others while it is prepared. */
  readonly text: string;
}

/** What an operator may tell. */
export interface DatabaseOptions {
  /** Told the code of an error that ended an idle connection. */
  readonly onLostConnection?: (code: string) => void;
  /** What every connection may do; whatever the login may unless given. */
  readonly role?: typeof SERVICE_ROLE;
  /** Told of every statement that the database did not take, and of those that it did. */
  readonly outages?: Outages;
  /** Connections at most; 4 unless given. */
  readonly connections?: number;
  /** Who finds all connections busy, or gets no new one, waits for so long and then fails; ten seconds unless given. */
  readonly connectionWaitMs?: number;
  /** A statement whose answer has not come then fails, and its connection is given up: the server may be gone without a word. Longer than the server itself takes unless given. */
  readonly answerWaitMs?: number;
}

const FEW_CONNECTIONS = 4;
const CONNECTION_WAIT_MS = 10_000;

/** Connections of a pool at one moment. */
export interface PoolState {
  readonly busy: number;
  readonly idle: number;
  /** Work that waits for one. */
  readonly waiting: number;
}

/** A connection while one caller has it. */
interface Connection {
  /** @throws AdminError `database.unavailable`, then for every further statement; what `pg` throws of the statement itself. */
  query(statement: string | pg.QueryConfig, values?: readonly unknown[]): Promise<pg.QueryResult>;
  /** Gives it back. @param destroy - Ends it instead. */
  release(destroy?: boolean): void;
}

/** A fault in this program: within a transaction another connection was asked for. As many such transactions as there are connections would wait for each other. */
export class SecondConnectionError extends Error {
  constructor() {
    super('Within a transaction, ask by its connection: a second one may never be free.');
    this.name = 'SecondConnectionError';
  }
}

/** The Admin API's PostgreSQL. Whatever is asked of it while it cannot be used fails with AdminError `database.unavailable`. */
export class Database {
  readonly queries: Kysely<Schema>;

  private readonly pool: pg.Pool;
  private readonly outages: Outages | undefined;
  /** The transaction of this database that the running code is in. */
  private readonly within = new AsyncLocalStorage<{ over: boolean }>();

  constructor(
    settings: ConnectionSettings,
    { onLostConnection, outages, role, connections, connectionWaitMs, answerWaitMs }: DatabaseOptions = {},
  ) {
    const pool = new pg.Pool({
      ...settings,
      max: connections ?? FEW_CONNECTIONS,
      connectionTimeoutMillis: connectionWaitMs ?? CONNECTION_WAIT_MS,
      statement_timeout: MAX_WAIT_MS,
      query_timeout: answerWaitMs ?? ANSWER_WAIT_MS,
      keepAlive: true,
      idle_in_transaction_session_timeout: MAX_WAIT_MS,
      // eslint-disable-next-line @typescript-eslint/no-misused-promises -- the pool waits for it; only its types do not say so
      ...(role === undefined ? {} : { onConnect: (client) => client.query(`set role ${role}`) }),
      types: {
        // Byte counts and row numbers stay far below 2^53.
        getTypeParser: (oid: number, format: 'text' | 'binary' = 'text'): ((value: string) => unknown) =>
          oid === INT8_OID ? Number : (pg.types.getTypeParser as TypeParsers)(oid, format),
      },
    });
    // A connection that breaks while idle is replaced by the pool; without a listener it would end the process.
    pool.on('error', (error) => onLostConnection?.(codeOf(error)));
    // One that breaks between two statements of a transaction, too: the next of them fails.
    pool.on('connect', (client) => client.on('error', () => undefined));
    this.pool = pool;
    this.outages = outages;
    this.queries = new Kysely<Schema>({ dialect: new PostgresDialect({ pool: this.watched() }) });
  }

  /** Runs a statement by itself, on any connection. */
  async prepared<Row extends object>(
    { name, text }: PreparedStatement,
    values: readonly unknown[],
  ): Promise<readonly Row[]> {
    const connection = await this.connection();
    try {
      return (await connection.query({ name, text, values: [...values] })).rows as Row[];
    } finally {
      connection.release();
    }
  }

  /**
   * Runs a use case in one transaction; it is rolled back when the function throws.
   *
   * @param work - Asks by what it is given, and by nothing else of this database: SecondConnectionError otherwise.
   */
  async transaction<T>(work: (on: Queries) => Promise<T>): Promise<T> {
    const transaction = { over: false };
    try {
      return await this.queries.transaction().execute((on) => this.within.run(transaction, () => work(on)));
    } finally {
      transaction.over = true; // what it has left running may ask again
    }
  }

  /**
   * Brings the schema up to date: forward only, under an advisory lock, so replicas may start together. Then gives {@link SERVICE_ROLE} what
   * the service needs.
   *
   * @throws Error with a sentence for the operator.
   */
  async migrate(): Promise<void> {
    await assertAdoptable(this.queries);
    const migrator = new Migrator({
      db: this.queries,
      allowUnorderedMigrations: true, // parts of the schema that do not touch each other grow side by side
      provider: {
        getMigrations: () =>
          Promise.resolve({
            '0001-foundation': foundation,
            '0002-references': references,
            '0010-verification': verification,
            '0011-pinned-versions': pinnedVersions,
            '0012-sparse-packs': sparsePacks,
            '0013-draft-limits': draftLimits,
            '0014-pack-counts': packCounts,
            '0015-draft-index': draftIndex,
            '0016-compacted-packs': compactedPacks,
            '0020-folder-policies': folderPolicies,
            '0021-audit': audit,
            '0022-key-schedule': keySchedule,
            '0023-legacy-resources': legacyResources,
            '0024-legacy-owners': legacyOwners,
            '0025-legacy-quota': legacyQuota,
            '0026-adopted-columns': adoptedColumns,
            '0027-audit-checkpoints': auditCheckpoints,
            '0030-fleet': fleet,
            '0031-recorded-logins': recordedLogins,
            '0050-attestation': attestation,
            '0051-reference-boot-states': referenceBootStates,
          }),
      },
    });
    const { error } = await migrator.migrateToLatest();
    if (error !== undefined) {
      const code = codeOf(error);
      const remedy = code === NOT_PERMITTED ? `: ${OWNERSHIP}` : '';
      throw new Error(`The database schema could not be brought up to date (${code}${remedy}).`, { cause: error });
    }
    await this.transaction(grantServiceRole);
  }

  /** How busy it is. */
  get poolState(): PoolState {
    const { totalCount, idleCount: idle, waitingCount: waiting } = this.pool;
    return { busy: totalCount - idle, idle, waiting };
  }

  /** Whether the database answers. */
  async check(): Promise<void> {
    await this.queries.selectFrom('signing_keys').select('kid').limit(1).execute();
  }

  /** Ends all connections. */
  async close(): Promise<void> {
    await this.queries.destroy();
  }

  /** The pool as the query builder sees it. */
  private watched(): PostgresPool {
    return {
      options: this.pool.options,
      end: () => this.pool.end(),
      // No answer is read through a cursor here, which is all that it lacks.
      connect: async () => (await this.connection()) as unknown as PostgresPoolClient,
    };
  }

  /** What fails because of the database, not of the statement, is told apart, and costs the connection. */
  private async connection(): Promise<Connection> {
    if (this.within.getStore()?.over === false) throw new SecondConnectionError();
    // Whatever keeps a connection from being made, no statement is at fault.
    const client = await this.pool.connect().catch((cause: unknown) => this.outage(cause));
    let usable = true;
    return {
      query: async (statement, values) => {
        // Not even a rollback: the server does that by itself when the connection ends.
        if (!usable) throw unavailable(undefined);
        try {
          const result = await client.query(statement, values && [...values]);
          this.outages?.succeeded();
          return result;
        } catch (error) {
          if (isVictim(error)) throw unavailable(error);
          if (!isOfServer(error)) throw error;
          usable = false;
          return this.outage(error);
        }
      },
      release: (destroy = false) => client.release(destroy || !usable),
    };
  }

  private outage(cause: unknown): never {
    this.outages?.failed(reasonOf(cause));
    throw unavailable(cause);
  }
}

/** Enough to look for: messages of the database hold values. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}

/** Whether an error is PostgreSQL's report of a violated unique index. */
export function isUniqueViolation(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === '23505';
}
