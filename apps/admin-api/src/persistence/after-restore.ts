import { sql } from 'kysely';

import type { AuditLog } from '../audit/audit-log.js';
import type { Database } from './database.js';

/** More versions than a resource gets between a dump and the moment it is needed. */
export const SKIPPED_VERSIONS = 1000;
/** More devices than are registered by number in that time. */
export const SKIPPED_SERIALS = 1000;

/** What was done to a restored database. */
export interface AfterRestore {
  /** Resources whose next version has a higher number now. */
  readonly resources: number;
  /** Logins that were ended. */
  readonly sessions: number;
}

/**
 * Makes a restored dump safe to go on with. Devices may hold versions that were published after it: a number that is given twice would mean
 * two contents, so every resource skips {@link SKIPPED_VERSIONS} numbers. Devices that were registered after it carry serials that it does not
 * know: their numbers are skipped, too. Sessions that were ended after the dump would live again, so all are ended. To be run once after a
 * restore; once more does no harm. Source: docs/how-to/backup.md.
 */
export function settleRestoredDatabase(database: Database, audit: AuditLog): Promise<AfterRestore> {
  return database.transaction(async (on) => {
    const { numUpdatedRows } = await on
      .updateTable('resources')
      .set(({ eb }) => ({ latest_version: eb('latest_version', '+', SKIPPED_VERSIONS) }))
      .executeTakeFirst();
    // One by one: the service's role takes numbers and sets none.
    await sql`select nextval('device_numbers') from generate_series(1, ${SKIPPED_SERIALS}::integer)`.execute(on);
    const { numDeletedRows } = await on.deleteFrom('sessions').executeTakeFirst();
    const done = { resources: Number(numUpdatedRows), sessions: Number(numDeletedRows) };
    await audit.record(on, {
      event: 'database.restored',
      actor: { id: 'system', address: '' },
      subject: 'database',
      details: { ...done, skippedVersions: SKIPPED_VERSIONS, skippedSerials: SKIPPED_SERIALS },
    });
    return done;
  });
}
