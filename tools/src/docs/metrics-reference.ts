import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where services define what they count. */
export const METRIC_SOURCES = [
  { title: 'Both services', path: 'libs/nest-support/src/http-metrics.ts' },
  { title: 'Admin API', path: 'apps/admin-api/src/admin-metrics.ts' },
  { title: 'Loader', path: 'apps/loader/src/metrics/loader-metrics.ts' },
] as const;

/** Where the page lies, from the workspace's root. */
export const METRICS_PAGE = 'docs/reference/metrics.md';

const METRIC =
  /metrics\.(counter|gauge|histogram)\(\s*\{\s*(?:\{\s*)?name: '(\w+)',\s*help: '([^']+)',?\s*(?:labels: \[([^\]]*)\],?\s*)?\}/g;

/** The metrics that a source file defines, in its order. */
export function metricsOf(
  source: string,
): readonly { readonly name: string; readonly kind: string; readonly help: string; readonly labels: string }[] {
  return [...source.matchAll(METRIC)].map(([, kind = '', name = '', help = '', labels = '']) => ({
    kind,
    name,
    help,
    labels: labels.replaceAll("'", '').trim().replace(/,$/, ''),
  }));
}

/** The page docs/reference/metrics.md as this workspace's services make it. */
export function workspaceMetricsPage(workspace: string): string {
  const sections = METRIC_SOURCES.map(({ title, path }) => {
    const rows = metricsOf(readFileSync(join(workspace, path), 'utf8')).map(
      ({ name, kind, help, labels }) => `| \`${name}\` | ${kind} | ${labels === '' ? '–' : labels} | ${help} |`,
    );
    return [`## ${title}`, '', '| metric | kind | labels | what it is |', '|---|---|---|---|', ...rows].join('\n');
  });
  return [
    '# Metrics',
    '',
    'Both services answer `GET /metrics` in the Prometheus text format: to a scraper that sends the token of `METRICS_TOKEN_FILE` as bearer token, and to the roles Admin and',
    'ApiAdmin. Labels hold closed sets only, never a name, an address or a path. Beside these there are what Node knows of its process (`process_…`, `nodejs_…`). Logins and grants',
    'are counted by route and status: failed logins of the Admin API have `route="/login"` and `status="401"`. This page is made from the definitions by `npm run docs`; a test fails when it is out of date.',
    '',
    sections.join('\n\n'),
    '',
  ].join('\n');
}
