import type { CommandContext } from '../command-context.js';
import { linesOf, verifyBundleAt } from './bundle.js';

/**
 * Checks a pre-deployed disk: signatures by the pinned root, signed hashes of the recipes, and every byte of every file. What lies in the packs
 * is checked once more when a device opens it.
 */
export async function verifyDisk(context: CommandContext, path: string): Promise<void> {
  const found = await verifyBundleAt(context, path);
  const { manifest, checkedBytes, resources } = found;
  context.output.result({ path, files: manifest.files.length, checkedBytes, resources: resources.length }, [
    `${path} is good.`,
    ...linesOf(found),
  ]);
}
