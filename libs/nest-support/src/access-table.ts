import { WORKING_ROLES } from '@azaion/identity';

import type { AccessRule } from './access.js';

/** What the table needs of an OpenAPI document that `openApiDocument` made. */
export interface DescribedAccess {
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly 'x-access'?: AccessRule }>>>>;
}

/** Route × role as a Markdown table, in the order of paths and methods. A route without a rule is nobody's. */
export function accessTable(document: DescribedAccess): string {
  const rows = Object.entries(document.paths)
    .flatMap(([path, operations]) =>
      Object.entries(operations).map(([method, { 'x-access': rule }]) => ({
        method: method.toUpperCase(),
        path,
        rule,
      })),
    )
    .sort((a, b) => (`${a.path} ${a.method}` < `${b.path} ${b.method}` ? -1 : 1))
    .map(({ method, path, rule }) => `| ${method} \`${path}\` | ${cells(rule).join(' | ')} |`);
  const head = ['route', 'everybody', ...WORKING_ROLES];
  return [`| ${head.join(' | ')} |`, `|${head.map(() => '---|').join('')}`, ...rows].join('\n');
}

function cells(rule: AccessRule | undefined): readonly string[] {
  const roles = rule === undefined || rule.kind === 'public' ? [] : rule.roles;
  const everybody = { public: 'yes', optional: 'in part', scrape: 'with the scrape token', roles: '' };
  return [
    rule === undefined ? '' : everybody[rule.kind],
    ...WORKING_ROLES.map((role) => (rule?.kind === 'public' || roles.includes(role) ? 'yes' : '')),
  ];
}
