import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { TpmTools } from './tpm-tools.js';

/** Reads an output of a tool and overwrites it before it is deleted. */
export async function takeFile(tools: TpmTools, name: string): Promise<Uint8Array> {
  const path = join(tools.directory, name);
  const bytes = await readFile(path);
  await writeFile(path, new Uint8Array(bytes.length));
  await rm(path);
  return new Uint8Array(bytes);
}
