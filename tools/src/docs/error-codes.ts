import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { literalMembers } from './source-literal.js';

/** Where the page lies in the workspace. */
export const ERROR_CODES_PAGE = 'docs/reference/error-codes.md';

/** Each closed set of codes: who has to act, and behind it why. */
const AREAS = [
  { title: 'Names', path: 'libs/kernel/src/names.ts', constant: 'NAME_ERRORS' },
  { title: 'People and devices', path: 'libs/identity/src/errors.ts', constant: 'IDENTITY_ERRORS' },
  { title: 'Publishing and fetching', path: 'libs/split-resource/src/errors.ts', constant: 'RESOURCE_ERRORS' },
  { title: 'Content, signatures and keys', path: 'libs/crypto/src/errors.ts', constant: 'CRYPTO_ERRORS' },
  { title: 'Unlocking', path: 'libs/unlock/src/errors.ts', constant: 'UNLOCK_ERRORS' },
  { title: 'Administration', path: 'apps/admin-api/src/errors.ts', constant: 'ADMIN_ERRORS' },
] as const;

const HEAD = ['| code | what happened | who acts | HTTP | exit | what to do next |', '|---|---|---|---:|---:|---|'];

/** The page docs/reference/error-codes.md as the tables of this workspace make it. */
export function workspaceErrorCodesPage(workspace: string): string {
  const members = (path: string, constant: string) =>
    literalMembers(readFileSync(join(workspace, path), 'utf8'), constant);
  const table = (path: string, constant: string): Readonly<Record<string, unknown>> =>
    Object.fromEntries(members(path, constant).map(({ name, value }) => [name, value]));
  const failures = 'apps/cli/src/failure-table.ts';
  const problems = {
    ...table('libs/nest-support/src/problem.ts', 'PROBLEMS'),
    ...table('apps/admin-api/src/http/problems.ts', 'ADMIN_PROBLEMS'),
  } as Readonly<Record<string, { readonly status: number; readonly title: string }>>;
  const exits = table('apps/cli/src/exit-codes.ts', 'EXIT_CODES') as Readonly<Record<string, { status: number }>>;
  const exitOf = table(failures, 'EXITS') as Readonly<Record<string, string>>;
  const exitByStatus = table(failures, 'EXITS_BY_HTTP_STATUS') as Readonly<Record<string, string>>;
  const remedies = table('apps/cli/src/remedies.ts', 'REMEDIES') as Readonly<Record<string, string>>;
  const advice = table(failures, 'ADVICE') as Readonly<Record<string, { readonly next: string }>>;

  const row = (code: string, happened: string, who: string, status: number | undefined, exit: string): string =>
    `| \`${code}\` | ${happened} | ${who} | ${status ?? '–'} | ${exits[exit]?.status ?? '–'} | ${remedies[code] ?? advice[exit]?.next ?? ''} |`;
  const known = new Set<string>();
  const answered = (code: string, who: string, remark: string): string => {
    known.add(code);
    const { status, title } = problems[code] ?? { status: 500, title: '' };
    const exit = exitOf[code] ?? exitByStatus[status] ?? (status < 500 ? 'refused' : 'internal');
    return row(code, remark === '' ? title : `${title}: ${remark}`, who, status, exit);
  };
  const sets = AREAS.map(({ title, path, constant }) => ({
    title,
    rows: members(path, constant).map(({ name, value, remark }) => answered(name, String(value), remark)),
  }));
  const requests = Object.keys(problems)
    .filter((code) => !known.has(code))
    .map((code) => answered(code, (problems[code]?.status ?? 500) < 500 ? 'caller' : 'operator', ''));
  const own = members(failures, 'OWN_EXITS').map(({ name, value, remark }) =>
    row(name, remark.charAt(0).toUpperCase() + remark.slice(1), 'caller', undefined, String(value)),
  );
  const sections = [
    { title: 'Requests', rows: requests },
    ...sets,
    { title: 'The command `azaion` alone', rows: own },
  ].map(({ title, rows }) => [`## ${title}`, '', ...HEAD, ...rows].join('\n'));
  return [
    '# Error codes',
    '',
    'What went wrong has a code that stays the same over releases: the member `code` of a problem document (RFC 9457) of either service, `error.code` of the command `azaion` with `--json`, and',
    'without it what stands in brackets at the end of the sentence. Whoever acts is the caller, the operator of device or service, the publisher of the content, an upstream that is not available, or',
    'nobody but an attacker makes it happen. *HTTP* is the status a service answers with, *exit* the [exit status](cli.md#exit-status) of `azaion`. This page is made from the tables in the code by',
    '`npm run docs`; a test fails when it is out of date. Symptom by symptom: [when something is wrong](../how-to/when-something-is-wrong.md).',
    '',
    sections.join('\n\n'),
    '',
  ].join('\n');
}
