import { createHash } from 'node:crypto';

const MAX_LAYERS = 512;

/**
 * The chain id of each layer of an image: what it is together with everything below it. Source: OCI image specification, "Layer ChainID".
 *
 * @param diffIds - `sha256:…` of each layer's plain tar, from the bottom. Untrusted; more than 512 have no chain ids.
 */
export function chainIdsOf(diffIds: readonly string[]): readonly string[] {
  if (diffIds.length > MAX_LAYERS) return [];
  const chainIds: string[] = [];
  for (const diffId of diffIds) {
    const below = chainIds.at(-1);
    chainIds.push(
      below === undefined ? diffId : `sha256:${createHash('sha256').update(`${below} ${diffId}`).digest('hex')}`,
    );
  }
  return chainIds;
}
