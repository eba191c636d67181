import { Secret } from '@azaion/kernel';

import { UnlockError } from '../errors.js';
import { KeySource } from '../ports/key-source.js';

/** Releases what it was given, by the archive's name. */
export class InMemoryKeySource extends KeySource {
  constructor(private readonly fragments: ReadonlyMap<string, Uint8Array> = new Map()) {
    super();
  }

  override fragment(archive: string, signal: AbortSignal): Promise<Secret<Uint8Array>> {
    signal.throwIfAborted();
    const fragment = this.fragments.get(archive);
    return fragment === undefined
      ? Promise.reject(new UnlockError('unlock.key-not-found', 'There is no key for this archive.'))
      : Promise.resolve(new Secret(Uint8Array.from(fragment)));
  }
}
