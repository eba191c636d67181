import type { Secret } from '@azaion/kernel';

/** Who releases the key fragment of a legacy archive to one caller (docs/formats/legacy.md). */
export abstract class KeySource {
  /**
   * @param archive - Name of the archive at the Admin API.
   * @returns The fragment's raw bytes, 1 to 65 536 of them. The archive key is made from it. A copy of the
   *   caller's own, to overwrite after use.
   * @throws UnlockError `unlock.key-not-found` | `unlock.forbidden` | `unlock.credentials-rejected`; ResourceError `api.unreachable` | `api.unexpected`.
   */
  abstract fragment(archive: string, signal: AbortSignal): Promise<Secret<Uint8Array>>;
}
