import {
  AUDIT_START,
  type AuditedEvent,
  type AuditFault,
  type AuditHead,
  auditLinkHash,
  AuditWalk,
} from '@azaion/crypto';
import { toHex } from '@azaion/kernel';
import { sql } from 'kysely';

import type { Database, Queries } from '../persistence/database.js';

const LINKED_AT_ONCE = 1_000;
const READ_AT_ONCE = 2_000;
/** Events whose places are looked up at once. */
const LOOKED_UP_AT_ONCE = 20_000;

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
export type LinkedEvent = RecordedEvent & AuditHead;

/** What is wrong with the log. */
export type ChainFault =
  | AuditFault
  /** The log has an event that nobody recorded: written past the service. */
  | 'event-unlinked'
  /** The head lies before what is still here: whether it was held, the export knows that the log was trimmed by. */
  | 'head-trimmed';

/** What to verify. */
export interface ChainQuestion {
  /** A head that was kept elsewhere: the chain must still hold it. */
  readonly known?: AuditHead | undefined;
  /** A head that is known to be good: only what came after it is looked at. All that is there unless given. */
  readonly after?: AuditHead | undefined;
  /** Events to look at, at most: where a log is long, the next call goes on after the head of this one. */
  readonly mostEvents: number;
}

/** What a verification came to. */
export interface ChainVerdict {
  readonly intact: boolean;
  /** Whether it came to the end of the chain; if not, go on after `head`. */
  readonly complete: boolean;
  /** Events that this call found good. */
  readonly verified: number;
  /** The last good link. */
  readonly head: AuditHead;
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

  /** What the chain begins behind: the last event that was trimmed. */
  start(): Promise<AuditHead> {
    return startOf(this.database.queries);
  }

  /** The newest link. */
  async head(): Promise<AuditHead> {
    await this.settle();
    return headOf(this.database.queries);
  }

  /**
   * Reads the chain and computes every hash anew. Memory and the time of each statement are bounded whatever the log holds.
   *
   * Calls that go on where the one before ended see everything that one call would: each looks for events past the chain among the ids between
   * the first and the last event that it reads, and the last one among all that are higher. Ids do not follow the order of the chain strictly,
   * but the ranges of such calls join from the first id to the last.
   */
  async verify({ known, after, mostEvents }: ChainQuestion): Promise<ChainVerdict> {
    await this.settle();
    const start = await this.start();
    const from = after ?? start;
    const walk = new AuditWalk(from, known);
    let verified = 0;
    const verdict = (complete: boolean): ChainVerdict => ({ intact: true, complete, verified, head: walk.at });
    const broken = (kind: ChainFault, sequence: number): ChainVerdict => ({
      ...verdict(false),
      intact: false,
      fault: { kind, sequence },
    });
    const before = await this.linkAt(from.sequence);
    for (const head of [from, known ?? from]) {
      if (head.sequence > from.sequence) continue; // the walk comes by it
      if (head.sequence < start.sequence) return broken('head-trimmed', start.sequence);
      const held = head.sequence === start.sequence ? start : await this.linkAt(head.sequence);
      if (held?.hash !== head.hash) return broken('head-mismatch', head.sequence);
    }
    const afterId = before?.eventId ?? Number.MIN_SAFE_INTEGER;
    let lastId = afterId;
    let complete = true;
    for await (const { event, ...link } of this.links(from.sequence)) {
      const fault = walk.follow(link, event && exported(event));
      if (fault !== undefined) return broken(fault, walk.at.sequence + 1);
      lastId = event?.id ?? lastId;
      verified += 1;
      complete = verified < mostEvents;
      if (!complete) break;
    }
    const fault = complete ? walk.end() : undefined;
    if (fault !== undefined) return broken(fault, walk.at.sequence);
    const strangers = await this.hasStrangers(afterId, complete ? Number.MAX_SAFE_INTEGER : lastId);
    if (strangers || (complete && (await this.hasGhosts()))) return broken('event-unlinked', walk.at.sequence);
    return verdict(complete);
  }

  /** The chain in its order, behind a sequence number. Not verified: whoever reads it computes {@link auditLinkHash}. */
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

  private async linkAt(sequence: number): Promise<{ readonly hash: string; readonly eventId: number } | undefined> {
    const row = await this.database.queries
      .selectFrom('audit_chain')
      .select(['hash', 'event_id'])
      .where('sequence', '=', sequence)
      .executeTakeFirst();
    return row && { hash: toHex(row.hash), eventId: row.event_id };
  }

  /** Events that are neither linked nor waiting to be, with ids behind the one and up to the other. */
  private async hasStrangers(afterId: number, throughId: number): Promise<boolean> {
    for (let last = afterId; ;) {
      const { rows } = await sql<{ events: number; last: number; found: boolean }>`
        select count(*) as events, max(id) as last, coalesce(bool_or(stranger), false) as found from (
          select event.id,
            not exists (select from audit_chain link where link.event_id = event.id)
            and not exists (select from audit_pending pending where pending.event_id = event.id) as stranger
          from audit_events event where event.id > ${last} and event.id <= ${throughId}
          order by event.id limit ${LOOKED_UP_AT_ONCE}
        ) looked_up`.execute(this.database.queries);
      const [page] = rows;
      if (page?.found === true) return true;
      if (page === undefined || page.events < LOOKED_UP_AT_ONCE) return false;
      last = page.last;
    }
  }

  /** Whether an event is gone that waits for its place. */
  private async hasGhosts(): Promise<boolean> {
    const { rows } = await sql<{ found: boolean }>`select exists (
      select from audit_pending pending
      where not exists (select from audit_events event where event.id = pending.event_id)
    ) as found`.execute(this.database.queries);
    return rows[0]?.found ?? false;
  }
}

/** As it is hashed and handed out. */
function exported({ at, ...event }: RecordedEvent): AuditedEvent {
  return { ...event, at: at.toISOString() };
}

async function startOf(on: Queries): Promise<AuditHead> {
  return (await newest(on, 'audit_checkpoints')) ?? AUDIT_START;
}

async function headOf(on: Queries): Promise<AuditHead> {
  return (await newest(on, 'audit_chain')) ?? startOf(on);
}

async function newest(on: Queries, table: 'audit_chain' | 'audit_checkpoints'): Promise<AuditHead | undefined> {
  const row = await on
    .selectFrom(table)
    .select(['sequence', 'hash'])
    .orderBy('sequence', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row && { sequence: row.sequence, hash: toHex(row.hash) };
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
    head = { sequence, hash: auditLinkHash(head.hash, sequence, exported(event)) };
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
