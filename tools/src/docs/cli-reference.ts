import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { withBlock } from './generated-block.js';

/** Where the page lies, from the workspace's root. */
export const CLI_PAGE = 'docs/reference/cli.md';

/** The page with the commands of the program that `npm run build` made; what people wrote around them stays. */
export async function workspaceCliPage(workspace: string): Promise<string> {
  const built = pathToFileURL(join(workspace, 'apps/cli/dist/command-reference.js'));
  const { commandReference } = (await import(built.href)) as { readonly commandReference: () => string };
  return withBlock(readFileSync(join(workspace, CLI_PAGE), 'utf8'), 'commands', commandReference());
}
