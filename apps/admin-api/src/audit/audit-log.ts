import type { Clock } from '@azaion/kernel';

import type { Queries } from '../persistence/database.js';

/** Who does something, and from where. */
export interface Actor {
  /** User id, or a fixed word such as `system`. */
  readonly id: string;
  /** Network address of the request; empty for the system itself. */
  readonly address: string;
}

/** Something that happened. */
export interface AuditEvent {
  /** `area.what`, past tense. */
  readonly event: string;
  readonly actor: Actor;
  /** What it happened to. */
  readonly subject: string;
  readonly details?: Readonly<Record<string, string | number | boolean>>;
}

/**
 * The part of a statement that records what the statement does: two `with` queries.
 *
 * @param first - Number of the first of its {@link RECORDING_VALUES} parameters.
 */
export function recording(first: number): string {
  const parameters = Array.from({ length: RECORDING_VALUES }, (_, index) => `$${first + index}`).join(', ');
  return `recorded as (
      insert into audit_events (at, event, actor, address, subject, details) values (${parameters}) returning id
    ), awaiting as (insert into audit_pending (event_id) select id from recorded)`;
}

const RECORDING_VALUES = 6;

/** Writes the append-only record of logins, grants, key releases and changes. Its place in the chain an event gets later, from {@link AuditChain}. */
export class AuditLog {
  constructor(private readonly clock: Clock) {}

  /** The parameters of {@link recording}. */
  values({ event, actor, subject, details }: AuditEvent): readonly unknown[] {
    return [new Date(this.clock.nowMs()), event, actor.id, actor.address, subject, JSON.stringify(details ?? {})];
  }

  /** @param on - The transaction of what is recorded, so that neither exists without the other. */
  async record(on: Queries, { event, actor, subject, details }: AuditEvent): Promise<void> {
    await on
      .with('recorded', (query) =>
        query
          .insertInto('audit_events')
          .values({
            at: new Date(this.clock.nowMs()),
            event,
            actor: actor.id,
            address: actor.address,
            subject,
            details: JSON.stringify(details ?? {}),
          })
          .returning('id'),
      )
      .insertInto('audit_pending')
      .columns(['event_id'])
      .expression((from) => from.selectFrom('recorded').select('recorded.id'))
      .execute();
  }
}
