import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { isReleasedApp, RELEASED_APPS } from './release/released-apps.js';
import { writeRelease } from './release/write-release.js';
import { WORKSPACE } from './started-service.js';

const USAGE = `Usage: npm run release -- [--directory PATH] [${Object.keys(RELEASED_APPS).join('] [')}]

Writes what is delivered of the named apps, or of all, to PATH/APP (default release): one minified bundle without sources or maps, the packages that it
needs beside it with their exact versions, THIRD-PARTY-LICENSES.txt, and a bill of materials (bom.cdx.json, CycloneDX).
`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      directory: { type: 'string', default: join(WORKSPACE, 'release') },
      help: { type: 'boolean', default: false },
    },
  });
  const apps = positionals.length === 0 ? Object.keys(RELEASED_APPS) : positionals;
  if (values.help || !apps.every(isReleasedApp)) {
    process.stdout.write(USAGE);
    return values.help ? 0 : 2;
  }
  for (const app of apps) {
    const { directory, bundledBytes, components } = await writeRelease(WORKSPACE, app, join(values.directory, app));
    const megabytes = (bundledBytes / 1e6).toFixed(1);
    process.stdout.write(`${app.padEnd(10)} ${megabytes} MB of code, ${components} packages, in ${directory}\n`);
  }
  return 0;
}

process.exitCode = await main();
