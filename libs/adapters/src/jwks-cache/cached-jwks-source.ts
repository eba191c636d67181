import { type DeviceStateKey, JwksSource, parseJwks } from '@azaion/identity';
import { ResourceError } from '@azaion/split-resource';

import { readTextIfThere, replaceDurably } from '../file-store/index.js';

/** How long the source is waited for when a copy is at hand. */
const PATIENCE_MS = 2_000;

/**
 * Keeps the last good set of another source on the disk, under a MAC by the device's key, so that tokens verify after a restart without
 * any network. A copy that was changed counts as none; what is not a usable set is never kept.
 */
export class CachedJwksSource extends JwksSource {
  constructor(
    private readonly source: JwksSource,
    private readonly path: string,
    private readonly key: DeviceStateKey,
    private readonly patienceMs = PATIENCE_MS,
  ) {
    super();
  }

  override async currentKeys(): Promise<unknown> {
    const fetching = this.fetch();
    fetching.catch(() => undefined); // reported below, once it is known whether there is a copy
    if ((await this.keptKeys()) === undefined) return fetching;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const error = new ResourceError('api.unreachable', 'The Admin API did not answer in time.');
      timer = setTimeout(() => reject(error), this.patienceMs);
    });
    try {
      return await Promise.race([fetching, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  override async keptKeys(): Promise<unknown> {
    const text = await readTextIfThere(this.path);
    if (text === undefined) return undefined;
    const authentic = this.key.authentic('jwks', text);
    return authentic === undefined ? undefined : (JSON.parse(authentic) as unknown);
  }

  private async fetch(): Promise<unknown> {
    const keys = await this.source.currentKeys();
    if (parseJwks(keys) === undefined) return keys; // the verifier says what is wrong with it
    const text = JSON.stringify(keys);
    if (text !== JSON.stringify(await this.keptKeys()))
      // A full disk is no reason to refuse good keys.
      await replaceDurably(this.path, this.key.authenticate('jwks', text)).catch(() => undefined);
    return keys;
  }
}
