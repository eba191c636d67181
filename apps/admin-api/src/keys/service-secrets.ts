import { randomBytes } from 'node:crypto';

import { KEY_BYTES, type KeyVault } from '@azaion/crypto';

import type { Database } from '../persistence/database.js';

/** What the random secrets of an installation are for. */
export const SERVICE_SECRETS = ['device-password', 'content-fingerprint'] as const;
/** Name of one of them. */
export type ServiceSecretName = (typeof SERVICE_SECRETS)[number];

/** Random 32-byte secrets that are made once and kept wrapped. */
export class ServiceSecrets {
  private readonly opened = new Map<ServiceSecretName, Promise<Uint8Array>>();

  constructor(
    private readonly database: Database,
    private readonly vault: KeyVault,
  ) {}

  /** The secret of this name; equal on every replica. */
  get(name: ServiceSecretName): Promise<Uint8Array> {
    const known = this.opened.get(name);
    if (known) return known;
    const opening = this.open(name);
    this.opened.set(name, opening);
    opening.catch(() => this.opened.delete(name));
    return opening;
  }

  private async open(name: ServiceSecretName): Promise<Uint8Array> {
    const fresh = Buffer.from(await this.vault.wrap('service', name, randomBytes(KEY_BYTES)));
    await this.database.queries
      .insertInto('service_secrets')
      .values({ name, wrapped: fresh })
      .onConflict((conflict) => conflict.column('name').doNothing())
      .execute();
    const { wrapped } = await this.database.queries
      .selectFrom('service_secrets')
      .select('wrapped')
      .where('name', '=', name)
      .executeTakeFirstOrThrow();
    return this.vault.unwrap('service', name, wrapped);
  }
}
