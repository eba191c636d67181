import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';

/** A migration of these statements, one after the other: forward only. */
export function sqlMigration(statements: readonly string[]): Migration {
  return {
    async up(db: Kysely<unknown>): Promise<void> {
      for (const statement of statements) await sql.raw(statement).execute(db);
    },
  };
}
