// The compiler does not mark what it writes as executable; `npx azaion` needs that.
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { root } from './workspace.mjs';

await chmod(join(root, 'apps/cli/dist/main.js'), 0o755);
