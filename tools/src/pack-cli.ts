import { mkdir } from 'node:fs/promises';
import { join, relative } from 'node:path';

import { packCli } from './release/pack-cli.js';
import { WORKSPACE } from './started-service.js';

/** `npm run pack:cli`: packs the CLI into `release` and says where. */
const directory = join(WORKSPACE, 'release');
await mkdir(directory, { recursive: true });
const tarball = relative(process.cwd(), await packCli(WORKSPACE, directory));
console.log(`${tarball}\nInstall it with: npm install --global ${tarball}`);
