import { createReadStream } from 'node:fs';

import { type AuditHead, verifyAuditExport } from '@azaion/crypto';

import { AdminApi, PAGE_ENTRIES } from '../admin-api.js';
import { type CliFailure, usageFailure } from '../cli-failure.js';
import type { CommandContext } from '../command-context.js';
import { failure } from '../failure-table.js';
import { forShell } from '../format.js';
import { call, contentOf, wholeBody } from '../http.js';
import { columns, shown } from '../table.js';
import { writeWholeFile } from '../whole-file.js';

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
  /** An export that is checked by itself. */
  readonly file?: string;
}

/** Options of `azaion audit export`. */
export interface AuditExportOptions extends AuditOptions {
  readonly output: string;
  readonly after: number;
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

/** `azaion audit export`: the chain as JSON lines in a file, all of it or what came after an earlier export. */
export async function exportAudit(
  context: CommandContext,
  { api, output: path, after }: AuditExportOptions,
): Promise<void> {
  const { service } = await AdminApi.open(context, api);
  const { output, session, signal } = context;
  const response = await call({
    method: 'GET',
    url: `${service.url}/audit/export?after=${String(after)}`,
    token: await session.token(service),
    accept: 'application/x-ndjson',
    signal,
  });
  const bytes = await writeWholeFile(path, wholeBody(response, signal));
  output.result({ path, bytes }, [`${path} holds the log. Check it: azaion audit verify --file ${forShell(path)}`]);
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
  if (options.file !== undefined) return verifyFile(context, options.file, known);
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

/** Without any service: the file, and a head that was kept elsewhere, are all that is needed. */
async function verifyFile(
  { output, signal }: CommandContext,
  path: string,
  known: AuditHead | undefined,
): Promise<void> {
  const { fault, ...verdict } = await verifyAuditExport(createReadStream(path, { signal }), known);
  const { from, head, verified } = verdict;
  if (fault?.line === 1 && fault.kind === 'sequence-gap')
    throw failure(
      'audit.broken',
      `${path} begins neither with the first event nor right behind the head that you name.`,
      { next: 'Name the last event of the export before it, as its check has printed it: --sequence and --hash.' },
    );
  if (fault !== undefined)
    throw failure(
      'audit.broken',
      `${path} breaks at line ${String(fault.line)}: ${fault.kind}. It is good up to ${String(head.sequence)} ${head.hash}.`,
      { next: 'Compare it with another copy, or export the log again.' },
    );
  if (verified === 0) throw usageFailure(`${path} holds no events.`);
  output.result({ intact: true, ...verdict }, [
    `The chain in ${path} is whole: ${String(verified)} events, ${String(from.sequence + 1)} to ${String(head.sequence)}.`,
    `${String(head.sequence)} ${head.hash}`,
  ]);
}

function headOf({ sequence, hash }: AuditVerifyOptions): AuditHead | undefined {
  if (sequence !== undefined && hash !== undefined) return { sequence, hash };
  if (sequence === undefined && hash === undefined) return undefined;
  throw usageFailure('A head is named by both: --sequence and --hash.');
}

function broken(fault: { readonly kind: string; readonly sequence: number } | undefined): CliFailure {
  return failure(
    'audit.broken',
    `The chain of the audit log breaks: ${fault?.kind ?? 'unknown'} at ${String(fault?.sequence ?? '?')}.`,
    fault?.kind === 'head-trimmed'
      ? { next: 'The log was trimmed behind that head: check the export that holds it, with --file.' }
      : {},
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
