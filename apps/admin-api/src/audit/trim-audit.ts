import { type AuditHead, verifyAuditExport } from '@azaion/crypto';
import type { Clock } from '@azaion/kernel';
import { sql } from 'kysely';

import type { Database } from '../persistence/database.js';
import { AuditChain } from './audit-chain.js';
import type { AuditLog } from './audit-log.js';

const DELETED_AT_ONCE = 20_000;

/** What was trimmed. */
export interface TrimmedAudit {
  readonly events: number;
  /** The last of them: what the chain begins behind from now on. */
  readonly through: AuditHead;
}

/**
 * Cuts the audit log off at the end of an export. Where it was cut stays in the database, so that the rest of the chain can be verified, and is
 * an event itself. Acts as the owner of the tables: the service's role can delete nothing. Source: docs/reference/audit.md.
 */
export class TrimAudit {
  constructor(
    private readonly owner: Database,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /**
   * @param exported - Untrusted: JSON lines of `GET /audit/export`, from the first event or the last cut on.
   * @throws Error in a plain sentence, when the export or the log is not whole, or they are not the same; then nothing was cut.
   */
  async run(exported: AsyncIterable<Uint8Array>): Promise<TrimmedAudit> {
    const chain = new AuditChain(this.owner);
    const start = await chain.start();
    const { fault, head: through } = await verifyAuditExport(exported, start.sequence === 0 ? undefined : start);
    if (fault !== undefined)
      throw new Error(
        `The export is not whole, or not of what is still in the log, which begins behind event ${start.sequence} (line ${fault.line}: ${fault.kind}).`,
      );
    const events = through.sequence - start.sequence;
    if (events <= 0) throw new Error('The export holds nothing that is still in the log.');
    // Changes that somebody has made past the service must not go with the rows that show them.
    const verdict = await chain.verify({ known: through, mostEvents: events });
    if (!verdict.intact)
      throw new Error(
        `The log in the database is not the one of the export (${verdict.fault?.kind ?? ''} at event ${verdict.fault?.sequence ?? 0}).`,
      );
    await this.owner.transaction(async (on) => {
      await sql`set local azaion.audit_trim to 'on'`.execute(on);
      await on
        .insertInto('audit_checkpoints')
        .values({
          sequence: through.sequence,
          hash: Buffer.from(through.hash, 'hex'),
          trimmed_at: new Date(this.clock.nowMs()),
        })
        .execute();
      await this.audit.record(on, {
        event: 'audit.trimmed',
        actor: { id: 'system', address: '' },
        subject: 'audit',
        details: { events, through: through.sequence, hash: through.hash },
      });
      for (let deleted = 1; deleted > 0;) {
        const { rows } = await sql<{ deleted: number }>`
          with links as (
            delete from audit_chain where sequence in (
              select sequence from audit_chain where sequence <= ${through.sequence} order by sequence limit ${DELETED_AT_ONCE}
            ) returning event_id
          ), events as (
            delete from audit_events using links where audit_events.id = links.event_id returning audit_events.id
          ) select count(*) as deleted from events`.execute(on);
        deleted = rows[0]?.deleted ?? 0;
      }
    });
    return { events, through };
  }
}
