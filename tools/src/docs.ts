import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { type DescribedAccess } from '@azaion/nest-support';

import { ACCESS_PAGE, accessPage } from './docs/access-page.js';
import { type OpenApiDocument, routeTable, withRouteTable } from './docs/http-reference.js';
import { METRICS_PAGE, workspaceMetricsPage } from './docs/metrics-reference.js';
import { CONFIGURATION_PAGE, workspaceConfigurationPage } from './docs/workspace-configuration.js';

/**
 * `npm run docs`: writes the generated pages. The tables of routes come from running services:
 * `npm run docs -- --admin-api http://127.0.0.1:8081 --loader http://127.0.0.1:8080`, with the demo up.
 */
const workspace = join(import.meta.dirname, '..', '..');
writeFileSync(join(workspace, CONFIGURATION_PAGE), workspaceConfigurationPage(workspace));
writeFileSync(join(workspace, METRICS_PAGE), workspaceMetricsPage(workspace));

const { values } = parseArgs({ options: { 'admin-api': { type: 'string' }, loader: { type: 'string' } } });
for (const [page, url] of [
  ['admin-http.md', values['admin-api']],
  ['loader-http.md', values.loader],
] as const) {
  if (url === undefined) continue;
  const path = join(workspace, 'docs', 'reference', page);
  const document = (await (await fetch(new URL('/docs/json', url))).json()) as OpenApiDocument & DescribedAccess;
  writeFileSync(path, withRouteTable(readFileSync(path, 'utf8'), routeTable(document)));
  if (page === 'admin-http.md') writeFileSync(join(workspace, ACCESS_PAGE), accessPage(document));
}
