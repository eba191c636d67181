import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';

import type { DescribedAccess } from '@azaion/nest-support';

import { ACCESS_PAGE, accessPage } from './docs/access-page.js';
import { CLI_PAGE, workspaceCliPage } from './docs/cli-reference.js';
import { ERROR_CODES_PAGE, workspaceErrorCodesPage } from './docs/error-codes.js';
import { type OpenApiDocument, routeTable, withRouteTable } from './docs/http-reference.js';
import { METRICS_PAGE, workspaceMetricsPage } from './docs/metrics-reference.js';
import { clientTypes, DESCRIBED_SERVICES, documentText } from './docs/openapi-client.js';
import { CONFIGURATION_PAGE, workspaceConfigurationPage } from './docs/workspace-configuration.js';
import { startSystem } from './e2e/started-system.js';
import { WORKSPACE } from './started-service.js';

/**
 * `npm run docs`: writes the generated pages. What services say about themselves (routes, access, OpenAPI documents, types of clients) comes from
 * services that are started for it, or from running ones: `--admin-api http://127.0.0.1:8081 --loader http://127.0.0.1:8080`.
 */
const { values } = parseArgs({ options: { 'admin-api': { type: 'string' }, loader: { type: 'string' } } });

function write(path: string, text: string): void {
  mkdirSync(dirname(join(WORKSPACE, path)), { recursive: true });
  writeFileSync(join(WORKSPACE, path), text);
}

async function describe(service: keyof typeof DESCRIBED_SERVICES, url: string): Promise<void> {
  const { page, document: path, types } = DESCRIBED_SERVICES[service];
  const document = (await (await fetch(new URL('/docs/json', url))).json()) as OpenApiDocument & DescribedAccess;
  write(page, withRouteTable(readFileSync(join(WORKSPACE, page), 'utf8'), routeTable(document)));
  write(path, await documentText(document, join(WORKSPACE, path)));
  write(types, await clientTypes(document, join(WORKSPACE, types)));
  if (service === 'admin-api') write(ACCESS_PAGE, accessPage(document));
}

write(CONFIGURATION_PAGE, workspaceConfigurationPage(WORKSPACE));
write(METRICS_PAGE, workspaceMetricsPage(WORKSPACE));
write(ERROR_CODES_PAGE, workspaceErrorCodesPage(WORKSPACE));
write(CLI_PAGE, await workspaceCliPage(WORKSPACE));
const system = values['admin-api'] === undefined || values.loader === undefined ? await startSystem() : undefined;
try {
  await describe('admin-api', values['admin-api'] ?? system?.adminUrl ?? '');
  await describe('loader', values.loader ?? system?.loaderUrl ?? '');
} finally {
  await system?.stop();
}
