import { hash as digest } from 'node:crypto';

const LABEL = 'azaion-audit-v1';

/** A link of the audit log's chain by its number and its hash, hexadecimal. Kept elsewhere it shows a log that was cut off or written anew. */
export interface AuditHead {
  readonly sequence: number;
  readonly hash: string;
}

/** What stands before the first event of the audit log. */
export const AUDIT_START: AuditHead = { sequence: 0, hash: '0'.repeat(64) };

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
 * @param before - Hash of the link before; that of {@link AUDIT_START} for the first.
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

/** What is wrong with a chain. */
export type AuditFault =
  /** An event was changed, or events changed places. */
  | 'hash-mismatch'
  /** A link's event is gone. */
  | 'event-missing'
  /** Links are gone from the middle. */
  | 'sequence-gap'
  /** The chain does not hold the head that was kept elsewhere: it was cut off or written anew. */
  | 'head-mismatch';

/** Follows a chain link by link, and computes every hash anew. */
export class AuditWalk {
  /**
   * @param head - Believed: the link before the first that is followed.
   * @param known - A head that was kept elsewhere and lies further on: the chain must hold it.
   */
  constructor(
    private head: AuditHead,
    private readonly known?: AuditHead,
  ) {}

  /** The last good link. */
  get at(): AuditHead {
    return this.head;
  }

  /**
   * Takes the next link, untrusted.
   *
   * @param event - What it is the link of; `undefined` where that is gone.
   * @returns What is wrong with it: then the walk stays where it was.
   */
  follow({ sequence, hash }: AuditHead, event: AuditedEvent | undefined): AuditFault | undefined {
    if (sequence !== this.head.sequence + 1) return 'sequence-gap';
    if (event === undefined) return 'event-missing';
    if (auditLinkHash(this.head.hash, sequence, event) !== hash) return 'hash-mismatch';
    if (this.known?.sequence === sequence && this.known.hash !== hash) return 'head-mismatch';
    this.head = { sequence, hash };
    return undefined;
  }

  /** What is wrong with a chain that ends here. */
  end(): AuditFault | undefined {
    return this.known !== undefined && this.known.sequence > this.head.sequence ? 'head-mismatch' : undefined;
  }
}
