import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { configurationReference, settingsOf } from './configuration-reference.js';

/** Sources of the configuration classes, by the title of their section. */
const CLASSES = [
  { title: 'Both services', path: 'libs/nest-support/src/service-config.ts' },
  { title: 'Loader', path: 'apps/loader/src/config.ts' },
  { title: 'Admin API', path: 'apps/admin-api/src/config.ts' },
];

/** Where the page lies, from the workspace's root. */
export const CONFIGURATION_PAGE = 'docs/reference/configuration.md';

/** The page as this workspace's classes make it. */
export function workspaceConfigurationPage(workspace: string): string {
  return configurationReference(
    CLASSES.map(({ title, path }) => ({ title, source: readFileSync(join(workspace, path), 'utf8') })),
  );
}

/** The variables that the services of this workspace read, without the `_FILE` twins of secrets. */
export function settingNames(workspace: string): readonly string[] {
  return CLASSES.flatMap(({ path }) =>
    settingsOf(readFileSync(join(workspace, path), 'utf8')).map(({ variable }) => variable),
  );
}

/** As {@link settingNames}, each with its `_FILE` twin. */
export function settingAndFileNames(workspace: string): readonly string[] {
  return settingNames(workspace).flatMap((name) => [name, `${name}_FILE`]);
}
