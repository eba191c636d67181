import type { Database } from '../persistence/database.js';
import { toHex } from '@azaion/kernel';
import type { LinkedEvent, RecordedEvent } from './audit-chain.js';

/** Which events to show; all that is given must hold. */
export interface AuditQuery {
  readonly event: string | undefined;
  readonly actor: string | undefined;
  readonly subject: string | undefined;
  readonly address: string | undefined;
  /** From this time on. */
  readonly from: Date | undefined;
  /** Before this time. */
  readonly to: Date | undefined;
  readonly limit: number;
  /** Id of the last event of the page before. */
  readonly before: number | undefined;
}

/** An event, with its place in the chain once it has one. */
export type AuditEntry = RecordedEvent & Partial<Pick<LinkedEvent, 'sequence' | 'hash'>>;

/** Reads the audit log. */
export class ReadAudit {
  constructor(private readonly database: Database) {}

  /** One page, newest first, and where the next begins. */
  async page(
    query: AuditQuery,
  ): Promise<{ readonly events: readonly AuditEntry[]; readonly cursor: number | undefined }> {
    let selection = this.database.queries
      .selectFrom('audit_events')
      .leftJoin('audit_chain', 'audit_chain.event_id', 'audit_events.id')
      .selectAll('audit_events')
      .select(['audit_chain.sequence', 'audit_chain.hash'])
      .orderBy('audit_events.id', 'desc')
      .limit(query.limit + 1);
    for (const column of ['event', 'actor', 'subject', 'address'] as const) {
      const value = query[column];
      if (value !== undefined) selection = selection.where(`audit_events.${column}`, '=', value);
    }
    if (query.from !== undefined) selection = selection.where('audit_events.at', '>=', query.from);
    if (query.to !== undefined) selection = selection.where('audit_events.at', '<', query.to);
    if (query.before !== undefined) selection = selection.where('audit_events.id', '<', query.before);
    const rows = await selection.execute();
    const events = rows.slice(0, query.limit).map(({ sequence, hash, ...event }) => ({
      ...event,
      ...(sequence === null || hash === null ? {} : { sequence, hash: toHex(hash) }),
    }));
    return { events, cursor: rows.length > query.limit ? events.at(-1)?.id : undefined };
  }
}
