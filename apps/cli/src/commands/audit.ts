import { AdminApi, PAGE_ENTRIES } from '../admin-api.js';
import { type CliFailure, usageFailure } from '../cli-failure.js';
import { type CommandContext } from '../command-context.js';
import { failure } from '../failure-table.js';
import { contentOf } from '../http.js';
import { columns, shown } from '../table.js';

/** Options of every command on the audit log. */
export interface AuditOptions {
  readonly api?: string;
}

/** Options of `azaion audit list`. */
export interface AuditListOptions extends AuditOptions {
  readonly event?: string;
  readonly actor?: string;
  readonly subject?: string;
  readonly limit: number;
}

/** Options of `azaion audit verify`: a head that was kept elsewhere. */
export interface AuditVerifyOptions extends AuditOptions {
  readonly sequence?: number;
  readonly hash?: string;
  /** Believes that head and looks at what came after it. */
  readonly newer?: boolean;
}

/** A link of the chain. */
interface Head {
  readonly sequence: number;
  readonly hash: string;
}

/** `azaion audit list`: what happened, newest first. */
export async function listEvents(context: CommandContext, options: AuditListOptions): Promise<void> {
  const { api, limit, ...filters } = options;
  const { routes } = await AdminApi.open(context, api);
  const query = { limit: Math.min(limit, PAGE_ENTRIES), ...filtersOf(filters) };
  const { events } = contentOf(await routes.GET('/audit', { params: { query } }));
  const rows = events.map(({ at, event, actor, subject, address }) => [
    shown(at),
    shown(event),
    shown(actor),
    shown(subject),
    shown(address),
  ]);
  context.output.result({ events }, columns(['AT', 'EVENT', 'ACTOR', 'SUBJECT', 'FROM'], rows));
}

/** `azaion audit head`: the end of the chain, to be kept where the database's owner cannot write. */
export async function showAuditHead(context: CommandContext, { api }: AuditOptions): Promise<void> {
  const { routes } = await AdminApi.open(context, api);
  const head = contentOf(await routes.GET('/audit/head'));
  context.output.result({ head }, [`${String(head.sequence)} ${head.hash}`]);
}

/**
 * `azaion audit verify`: whether the chain is whole, and still holds a head. A long chain is asked for in pieces, each in a call of its own.
 *
 * @throws CliFailure exit `usage` for half a head, `integrity` when the chain breaks.
 */
export async function verifyAudit(context: CommandContext, options: AuditVerifyOptions): Promise<void> {
  const known = headOf(options);
  if (known === undefined && options.newer === true)
    throw usageFailure('--newer needs the head that it begins at: --sequence and --hash.');
  const { routes } = await AdminApi.open(context, options.api);
  let after = options.newer === true ? known : undefined;
  for (let verified = 0; ;) {
    const query = { ...known, ...(after && { after: after.sequence, afterHash: after.hash }) };
    const verdict = contentOf(await routes.GET('/audit/verify', { params: { query } }));
    if (!verdict.intact) throw broken(verdict.fault);
    verified += verdict.verified;
    if (verdict.complete) {
      context.output.result({ ...verdict, verified }, [`The chain is whole: ${String(verified)} events.`]);
      return;
    }
    context.output.note(`${String(verified)} events are good, up to ${String(verdict.head.sequence)} …`);
    after = verdict.head;
  }
}

function headOf({ sequence, hash }: AuditVerifyOptions): Head | undefined {
  if (sequence !== undefined && hash !== undefined) return { sequence, hash };
  if (sequence === undefined && hash === undefined) return undefined;
  throw usageFailure('A head is named by both: --sequence and --hash.');
}

function broken(fault: { readonly kind: string; readonly sequence: number } | undefined): CliFailure {
  return failure(
    'audit.broken',
    `The chain of the audit log breaks: ${fault?.kind ?? 'unknown'} at ${String(fault?.sequence ?? '?')}.`,
  );
}

function filtersOf({ event, actor, subject }: Omit<AuditListOptions, 'api' | 'limit'>): {
  readonly event?: string;
  readonly actor?: string;
  readonly subject?: string;
} {
  return {
    ...(event === undefined ? {} : { event }),
    ...(actor === undefined ? {} : { actor }),
    ...(subject === undefined ? {} : { subject }),
  };
}
