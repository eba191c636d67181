import { type AuditedEvent, type AuditFault, type AuditHead, AUDIT_START, AuditWalk } from './audit-link.js';

/** Longer than any line of an export: the members of an event are a few short texts. */
const MAX_LINE_BYTES = 1024 * 1024;
const LINE_FEED = 0x0a;
const TEXTS = ['at', 'event', 'actor', 'address', 'subject', 'hash'];
const NUMBERS = ['sequence', 'id'];
const MEMBERS = [...NUMBERS, ...TEXTS, 'details'];

/** What the check of an export came to. */
export interface AuditExportVerdict {
  /** Events that were found good. */
  readonly verified: number;
  /** The link that the first of them follows. */
  readonly from: AuditHead;
  /** The last good link. */
  readonly head: AuditHead;
  /** What is wrong, and at which line, from 1 on; behind the last line where the export ends too early. */
  readonly fault?: { readonly kind: AuditFault | 'line-unreadable'; readonly line: number };
}

/**
 * Checks an export of the audit log by itself: every line follows from the one before. Memory is bounded whatever its size.
 * Source: docs/reference/audit.md.
 *
 * @param content - Untrusted bytes: JSON lines as `GET /audit/export` hands them out.
 * @param known - A head that was kept elsewhere: the export must begin right behind it, or hold it. One that begins with the first event needs none.
 * @throws What reading the content throws.
 */
export async function verifyAuditExport(
  content: AsyncIterable<Uint8Array>,
  known?: AuditHead,
): Promise<AuditExportVerdict> {
  let from = AUDIT_START;
  let walk = new AuditWalk(from, known);
  let line = 0;
  const verdict = (kind?: AuditFault | 'line-unreadable'): AuditExportVerdict => ({
    verified: walk.at.sequence - from.sequence,
    from,
    head: walk.at,
    ...(kind === undefined ? {} : { fault: { kind, line } }),
  });
  for await (const bytes of linesOf(content)) {
    line += 1;
    const link = linkIn(bytes);
    if (link === undefined) return verdict('line-unreadable');
    if (line === 1 && link.sequence - 1 === known?.sequence) {
      from = known;
      walk = new AuditWalk(from);
    }
    const fault = walk.follow(link, link);
    if (fault !== undefined) return verdict(fault);
  }
  line += 1;
  return verdict(walk.end());
}

/** Lines without their ends; what is longer than a line may be comes in parts, none of which can be read. */
async function* linesOf(content: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let rest = Buffer.alloc(0);
  for await (const bytes of content) {
    const known = Buffer.concat([rest, bytes]);
    let start = 0;
    for (let end = known.indexOf(LINE_FEED); end !== -1; end = known.indexOf(LINE_FEED, start)) {
      yield known.subarray(start, end);
      start = end + 1;
    }
    rest = known.subarray(start);
    if (rest.length > MAX_LINE_BYTES) break;
  }
  if (rest.length > 0) yield rest;
}

/** The event of a line with its place in the chain; `undefined` where it is none, or says more than the chain vouches for. */
function linkIn(line: Uint8Array): (AuditedEvent & AuditHead) | undefined {
  if (line.length > MAX_LINE_BYTES) return undefined;
  let link: unknown;
  try {
    link = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(line));
  } catch {
    return undefined;
  }
  if (!isRecord(link) || Object.keys(link).length !== MEMBERS.length) return undefined;
  const good =
    TEXTS.every((name) => typeof link[name] === 'string') &&
    NUMBERS.every((name) => Number.isSafeInteger(link[name])) &&
    isRecord(link['details']) &&
    Object.values(link['details']).every((value) => ['string', 'number', 'boolean'].includes(typeof value));
  return good ? (link as unknown as AuditedEvent & AuditHead) : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
