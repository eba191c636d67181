import { randomBytes } from 'node:crypto';

import type { KeyVault } from '@azaion/crypto';
import type { Clock } from '@azaion/kernel';

import type { Actor, AuditLog } from '../audit/audit-log.js';
import { AdminError } from '../errors.js';
import type { Database, Queries } from '../persistence/database.js';
import type { Standing } from '../sealed/current-standing.js';

const FRAGMENT_BYTES = 32;

/** A fragment, and whether this call made it. */
export interface RegisteredFragment {
  readonly fragment: Uint8Array;
  readonly created: boolean;
}

/** The secrets that open image archives of the older format (F4). Wrapped where they lie; every release is recorded. */
export class KeyFragments {
  constructor(
    private readonly database: Database,
    private readonly vault: KeyVault,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /**
   * Makes the fragment of an archive, for who is about to encrypt it; a repeat hands the same out again, to who registered it or an administrator.
   *
   * @throws AdminError `archive.of-another`.
   */
  async register(archive: string, standing: Standing): Promise<RegisteredFragment> {
    const actor = { id: standing.userId, address: standing.address };
    const fresh = randomBytes(FRAGMENT_BYTES);
    const wrapped = Buffer.from(await this.vault.wrap('key-fragment', archive, fresh));
    return this.database.transaction(async (on) => {
      const made = await on
        .insertInto('key_fragments')
        .values({ archive, wrapped, created_by: standing.userId, created_at: new Date(this.clock.nowMs()) })
        .onConflict((conflict) => conflict.column('archive').doNothing())
        .returning('archive')
        .executeTakeFirst();
      if (made) {
        await this.audit.record(on, { event: 'key-fragment.created', actor, subject: archive });
        return { fragment: fresh, created: true };
      }
      const { created_by: owner } = await on
        .selectFrom('key_fragments')
        .select('created_by')
        .where('archive', '=', archive)
        .executeTakeFirstOrThrow();
      if (owner !== standing.userId && standing.role !== 'ApiAdmin')
        throw new AdminError(
          'archive.of-another',
          'Somebody else has registered an archive of this name: choose another.',
        );
      return { fragment: await this.open(on, archive, actor), created: false };
    });
  }

  /** Releases the fragment of an archive. @throws AdminError `key-fragment.not-found`. */
  release(archive: string, actor: Actor): Promise<Uint8Array> {
    return this.database.transaction((on) => this.open(on, archive, actor));
  }

  private async open(on: Queries, archive: string, actor: Actor): Promise<Uint8Array> {
    const row = await on
      .selectFrom('key_fragments')
      .select('wrapped')
      .where('archive', '=', archive)
      .executeTakeFirst();
    if (!row)
      throw new AdminError('key-fragment.not-found', 'No archive of this name has been registered: publish it first.');
    await this.audit.record(on, { event: 'key-fragment.released', actor, subject: archive });
    return this.vault.unwrap('key-fragment', archive, row.wrapped);
  }
}
