import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { CONFIGURATION_PAGE, workspaceConfigurationPage } from './workspace-configuration.js';

const WORKSPACE = join(import.meta.dirname, '..', '..', '..');

describe('docs/reference/configuration.md', () => {
  it('is what the configuration classes make (npm run docs)', () => {
    expect(readFileSync(join(WORKSPACE, CONFIGURATION_PAGE), 'utf8')).toBe(workspaceConfigurationPage(WORKSPACE));
  });

  it.each(['apps/loader/src/config.ts', 'apps/admin-api/src/config.ts', 'libs/nest-support/src/service-config.ts'])(
    'has a row for every setting of %s',
    (path) => {
      const source = readFileSync(join(WORKSPACE, path), 'utf8');
      const variables = [...source.matchAll(/@Env\w+\('([A-Z0-9_]+)'/g)].map(([, variable]) => variable);
      expect(variables.length).toBeGreaterThan(1);
      const page = workspaceConfigurationPage(WORKSPACE);
      expect(variables.filter((variable) => !page.includes(`| \`${variable}\` |`))).toEqual([]);
    },
  );
});
