// The OpenAPI documents of both services keep to the rules of `redocly.yaml`, and the types of the clients are what they make.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { lint, loadConfig } from '@redocly/openapi-core';
import { clientTypes, DESCRIBED_SERVICES } from '../dist/docs/openapi-client.js';
import { root } from './workspace.mjs';

const config = await loadConfig({ configPath: join(root, 'redocly.yaml') });
const findings = [];
for (const { document, types } of Object.values(DESCRIBED_SERVICES)) {
  for (const { ruleId, message, location } of await lint({ ref: join(root, document), config })) {
    findings.push(`${document}${location[0]?.pointer ?? ''}: ${message} (${ruleId})`);
  }
  const made = await clientTypes(JSON.parse(readFileSync(join(root, document), 'utf8')), join(root, types));
  if (made !== readFileSync(join(root, types), 'utf8')) findings.push(`${types}: is out of date; run "npm run docs"`);
}

for (const finding of findings) console.error(finding);
console.log(`${Object.keys(DESCRIBED_SERVICES).length} OpenAPI documents, ${findings.length} findings`);
process.exitCode = findings.length === 0 ? 0 : 1;
