import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { BillOfMaterials } from './release/bill-of-materials.js';
import { imageBill } from './release/image-bill.js';
import { writeImageRoot } from './release/image-root.js';
import { isReleasedImage, RELEASED_IMAGES } from './release/released-images.js';

// A step of the Dockerfile, on the base: node image-root.js TARGET RELEASE DIRECTORY BILL_DIRECTORY
const [target = '', release = '', directory = '', billDirectory = ''] = process.argv.slice(2);
if (!isReleasedImage(target)) throw new Error(`There is no image "${target}".`);
const written = await writeImageRoot(RELEASED_IMAGES[target], directory, release);
const product = JSON.parse(await readFile(join(release, 'bom.cdx.json'), 'utf8')) as BillOfMaterials;
await mkdir(billDirectory, { recursive: true });
await writeFile(join(billDirectory, 'bom.cdx.json'), `${JSON.stringify(imageBill(product, written), undefined, 2)}\n`);
process.stdout.write(`${target}: files of ${written.packages.length} Debian packages\n`);
