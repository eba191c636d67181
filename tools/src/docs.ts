import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { CONFIGURATION_PAGE, workspaceConfigurationPage } from './docs/workspace-configuration.js';

/** `npm run docs`: writes the generated pages. */
const workspace = join(import.meta.dirname, '..', '..');
writeFileSync(join(workspace, CONFIGURATION_PAGE), workspaceConfigurationPage(workspace));
