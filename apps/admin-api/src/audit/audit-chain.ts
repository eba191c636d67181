import { hash as digest } from 'node:crypto';

import { toHex } from '@azaion/kernel';
import { sql } from 'kysely';

import { type Database, type Queries } from '../persistence/database.js';

const LINKED_AT_ONCE = 1_000;
const READ_AT_ONCE = 2_000;
const LABEL = 'azaion-audit-v1';
/** What stands before the first event. */
const GENESIS = '0'.repeat(64);

/** An event as the log holds it. */
export interface RecordedEvent {
  readonly id: number;
  readonly at: Date;
  readonly event: string;
  readonly actor: string;
  readonly address: string;
  readonly subject: string;
  readonly details: Readonly<Record<string, string | number | boolean>>;
}

/** An event with its place in the chain. */
export interface LinkedEvent extends RecordedEvent {
  readonly sequence: number;
  /** Hexadecimal SHA-256, see {@link linkHash}. */
  readonly hash: string;
}

/** The end of the chain; keep it elsewhere to notice a log that was cut off. */
export interface ChainHead {
  readonly sequence: number;
  readonly hash: string;
}

/** What is wrong with a chain. */
export type ChainFault =
  /** An event was changed, or events changed places. */
  | 'hash-mismatch'
  /** A link's event is gone. */
  | 'event-missing'
  /** Links are gone from the middle. */
  | 'sequence-gap'
  /** The log has an event that nobody recorded: written past the service. */
  | 'event-unlinked'
  /** The chain does not hold the head that was kept elsewhere: it was cut off or written anew. */
  | 'head-mismatch';

/** What a verification came to. */
export interface ChainVerdict {
  readonly intact: boolean;
  /** Events that were found good, from the first on. */
  readonly verified: number;
  readonly head: ChainHead;
  readonly fault?: { readonly kind: ChainFault; readonly sequence: number };
}

/** Links recorded events into a chain of hashes, and checks it. Grants never wait for it: events are linked in batches afterwards. */
export class AuditChain {
  constructor(private readonly database: Database) {}

  /**
   * Links what is pending, unless another replica is at it.
   *
   * @returns How many events were linked.
   */
  async link(): Promise<number> {
    for (let linked = 0; ;) {
      const batch = await this.database.transaction(async (on) => {
        const { rows } = await sql<{ free: boolean }>`
          select pg_try_advisory_xact_lock(hashtext('audit-chain')) as free`.execute(on);
        return rows[0]?.free === true ? linkBatch(on) : 0;
      });
      linked += batch;
      if (batch < LINKED_AT_ONCE) return linked;
    }
  }

  /** Links what is pending and waits for its turn, so that everything recorded before the call has its place. */
  async settle(): Promise<void> {
    for (let batch = LINKED_AT_ONCE; batch === LINKED_AT_ONCE;)
      batch = await this.database.transaction(async (on) => {
        await sql`select pg_advisory_xact_lock(hashtext('audit-chain'))`.execute(on);
        return linkBatch(on);
      });
  }

  /** The newest link. */
  async head(): Promise<ChainHead> {
    await this.settle();
    return headOf(this.database.queries);
  }

  /**
   * Reads the whole chain and computes every hash anew. Memory is bounded whatever the log holds.
   *
   * @param known - A head that was kept elsewhere: the chain must still hold it.
   */
  async verify(known?: ChainHead): Promise<ChainVerdict> {
    await this.settle();
    let head: ChainHead = { sequence: 0, hash: GENESIS };
    const broken = (kind: ChainFault, sequence: number): ChainVerdict => ({
      intact: false,
      verified: head.sequence,
      head,
      fault: { kind, sequence },
    });
    for await (const { sequence, hash, event } of this.links(0)) {
      const next = head.sequence + 1;
      if (sequence !== next) return broken('sequence-gap', next);
      if (event === undefined) return broken('event-missing', next);
      if (linkHash(head.hash, next, event) !== hash) return broken('hash-mismatch', next);
      if (known?.sequence === next && known.hash !== hash) return broken('head-mismatch', next);
      head = { sequence, hash };
    }
    if (known !== undefined && (known.sequence > head.sequence || known.sequence < 1))
      return broken('head-mismatch', head.sequence);
    if (await this.hasStrangers()) return broken('event-unlinked', head.sequence);
    return { intact: true, verified: head.sequence, head };
  }

  /** The chain in its order, behind a sequence number. Not verified: whoever reads it computes {@link linkHash}. */
  async *export(after: number): AsyncGenerator<LinkedEvent> {
    await this.settle();
    for await (const { sequence, hash, event } of this.links(after))
      if (event !== undefined) yield { sequence, ...event, hash };
  }

  private async *links(
    after: number,
  ): AsyncGenerator<{ sequence: number; hash: string; event: RecordedEvent | undefined }> {
    for (let last = after; ;) {
      const rows = await this.database.queries
        .selectFrom('audit_chain')
        .leftJoin('audit_events', 'audit_events.id', 'audit_chain.event_id')
        .select(['audit_chain.sequence', 'audit_chain.hash'])
        .selectAll('audit_events')
        .where('audit_chain.sequence', '>', last)
        .orderBy('audit_chain.sequence')
        .limit(READ_AT_ONCE)
        .execute();
      for (const { sequence, hash, ...event } of rows)
        yield { sequence, hash: toHex(hash), event: event.id === null ? undefined : (event as RecordedEvent) };
      if (rows.length < READ_AT_ONCE) return;
      last = rows.at(-1)?.sequence ?? last;
    }
  }

  /** Events that are neither linked nor waiting to be, or waiting ones whose event is gone. */
  private async hasStrangers(): Promise<boolean> {
    const { rows } = await sql<{ found: boolean }>`select
      exists (
        select from audit_events event
        where not exists (select from audit_chain link where link.event_id = event.id)
          and not exists (select from audit_pending pending where pending.event_id = event.id)
      ) or exists (
        select from audit_pending pending
        where not exists (select from audit_events event where event.id = pending.event_id)
      ) as found`.execute(this.database.queries);
    return rows[0]?.found ?? false;
  }
}

/**
 * The hash of a link: SHA-256 over a JSON array of a label, the hash before, and everything that stands in the event. Details in the order of
 * their names, because the database keeps another one. Source: docs/reference/audit.md.
 */
export function linkHash(before: string, sequence: number, event: RecordedEvent): string {
  const details = Object.fromEntries(Object.entries(event.details).sort(([a], [b]) => (a < b ? -1 : 1)));
  const { id, at, event: what, actor, address, subject } = event;
  const link = [LABEL, before, sequence, id, at.toISOString(), what, actor, address, subject, details];
  return digest('sha256', JSON.stringify(link), 'hex');
}

async function headOf(on: Queries): Promise<ChainHead> {
  const row = await on
    .selectFrom('audit_chain')
    .select(['sequence', 'hash'])
    .orderBy('sequence', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row ? { sequence: row.sequence, hash: toHex(row.hash) } : { sequence: 0, hash: GENESIS };
}

/** Under the lock. Events become visible when their transactions end: a lower number may come after a higher one. */
async function linkBatch(on: Queries): Promise<number> {
  const events = await on
    .selectFrom('audit_pending')
    .innerJoin('audit_events', 'audit_events.id', 'audit_pending.event_id')
    .selectAll('audit_events')
    .orderBy('audit_events.id')
    .limit(LINKED_AT_ONCE)
    .execute();
  if (events.length === 0) return 0;
  let head = await headOf(on);
  const links = events.map((event) => {
    const sequence = head.sequence + 1;
    head = { sequence, hash: linkHash(head.hash, sequence, event) };
    return { sequence, event_id: event.id, hash: Buffer.from(head.hash, 'hex') };
  });
  await on.insertInto('audit_chain').values(links).execute();
  await on
    .deleteFrom('audit_pending')
    .where(
      'event_id',
      'in',
      events.map(({ id }) => id),
    )
    .execute();
  return events.length;
}
