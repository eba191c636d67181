import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { CONFIGURATION_PAGE, workspaceConfigurationPage } from './workspace-configuration.js';

const WORKSPACE = join(import.meta.dirname, '..', '..', '..');

describe('docs/reference/configuration.md', () => {
  it('is what the configuration classes make (npm run docs)', () => {
    expect(readFileSync(join(WORKSPACE, CONFIGURATION_PAGE), 'utf8')).toBe(workspaceConfigurationPage(WORKSPACE));
  });

  it.each(['loader', 'admin-api'])('has a row for every setting of %s', (app) => {
    const source = readFileSync(join(WORKSPACE, 'apps', app, 'src', 'config.ts'), 'utf8');
    const variables = [...source.matchAll(/@Env\w+\('([A-Z0-9_]+)'/g)].map(([, variable]) => variable);
    const page = workspaceConfigurationPage(WORKSPACE);
    expect(variables.filter((variable) => !page.includes(`| \`${variable}\` |`))).toEqual([]);
  });
});
