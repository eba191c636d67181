import { randomBytes } from 'node:crypto';

import { KEK_BYTES, KekRing } from '../kek-ring.js';
import { type KeyPurpose, KeyVault } from '../key-vault.js';

/** A key vault whose keys live as long as the object. */
export class InMemoryKeyVault extends KeyVault {
  private readonly ring: KekRing;

  /** @param keks - The current key first; a fresh one when left out. */
  constructor(...keks: readonly Uint8Array[]) {
    super();
    this.ring = new KekRing(keks.length > 0 ? keks : [randomBytes(KEK_BYTES)]);
  }

  override async wrap(purpose: KeyPurpose, rowId: string, secret: Uint8Array): Promise<Uint8Array> {
    return Promise.resolve(this.ring.wrap(purpose, rowId, secret));
  }

  override async unwrap(purpose: KeyPurpose, rowId: string, wrapped: Uint8Array): Promise<Uint8Array> {
    return Promise.resolve(this.ring.unwrap(purpose, rowId, wrapped));
  }

  override async macKey(purpose: 'url-signing'): Promise<Uint8Array> {
    return Promise.resolve(this.ring.macKey(purpose));
  }
}
