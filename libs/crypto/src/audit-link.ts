import { hash as digest } from 'node:crypto';

const LABEL = 'azaion-audit-v1';

/** What stands before the first event of the audit log. */
export const AUDIT_GENESIS = '0'.repeat(64);

/** An event of the audit log, as it is exported. */
export interface AuditedEvent {
  readonly id: number;
  /** ISO 8601 with milliseconds, in UTC. */
  readonly at: string;
  readonly event: string;
  readonly actor: string;
  readonly address: string;
  readonly subject: string;
  readonly details: Readonly<Record<string, string | number | boolean>>;
}

/**
 * The hash of a link of the audit log: SHA-256 over a JSON array of a label, the hash before, and everything that stands in the event. Details
 * in the order of their names, because the database keeps another one. Source: docs/reference/audit.md.
 *
 * @param before - Hash of the link before; {@link AUDIT_GENESIS} for the first.
 * @param sequence - Place in the chain, from 1 on.
 * @returns 64 hexadecimal digits.
 */
export function auditLinkHash(before: string, sequence: number, event: AuditedEvent): string {
  const details = Object.fromEntries(Object.entries(event.details).sort(([a], [b]) => (a < b ? -1 : 1)));
  const { id, at, event: what, actor, address, subject } = event;
  return digest(
    'sha256',
    JSON.stringify([LABEL, before, sequence, id, at, what, actor, address, subject, details]),
    'hex',
  );
}
