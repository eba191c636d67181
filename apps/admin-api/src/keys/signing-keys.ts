import {
  generateP256KeyPair,
  importSigningKey,
  isPrivateJwk,
  type KeyPurpose,
  keyThumbprint,
  type KeyVault,
  type PublicJwk,
  type SigningKey,
} from '@azaion/crypto';
import { type Clock, utf8 } from '@azaion/kernel';
import { type Selectable, sql } from 'kysely';

import type { Database, Queries } from '../persistence/database.js';
import type { SigningKeysTable } from '../persistence/schema.js';

/** What a signing key signs. */
export type SigningPurpose = SigningKeysTable['purpose'];

/** Under which purpose the private half of each kind of key is wrapped. */
export const WRAPPED_FOR: Readonly<Record<SigningPurpose, KeyPurpose>> = {
  token: 'token-signing',
  statement: 'statement-signing',
  root: 'statement-root',
};

/** A stored signing key, its private half wrapped. */
export type SigningKeysRow = Selectable<SigningKeysTable>;

/** A signing key together with its public half. */
export interface OwnSigningKey extends SigningKey {
  readonly publicJwk: PublicJwk;
}

/** The Admin API's own signing keys, wrapped in the database. The newest of a purpose at the process's start signs; older ones stay published. */
export class SigningKeys {
  private readonly current = new Map<SigningPurpose, Promise<OwnSigningKey>>();

  constructor(
    private readonly database: Database,
    private readonly vault: KeyVault,
    private readonly clock: Clock,
  ) {}

  /** The key that signs now; made at the first call of the first replica. */
  signing(purpose: SigningPurpose): Promise<OwnSigningKey> {
    const known = this.current.get(purpose);
    if (known) return known;
    const opening = this.open(purpose);
    this.current.set(purpose, opening);
    opening.catch(() => this.current.delete(purpose));
    return opening;
  }

  /** Public halves of every key of a purpose, newest first. */
  async published(
    purpose: SigningPurpose,
    on: Queries = this.database.queries,
  ): Promise<readonly { readonly kid: string; readonly key: PublicJwk }[]> {
    const rows = await on
      .selectFrom('signing_keys')
      .select(['kid', 'public_jwk'])
      .where('purpose', '=', purpose)
      .orderBy('created_at', 'desc')
      .execute();
    return rows.map(({ kid, public_jwk: key }) => ({ kid, key }));
  }

  /** Makes a further key of a purpose. It signs nothing until the rules of its purpose choose it. @param signsFrom - Now unless given. */
  async make(
    purpose: SigningPurpose,
    on: Queries = this.database.queries,
    signsFrom = new Date(this.clock.nowMs()),
  ): Promise<SigningKeysRow> {
    const pair = await generateP256KeyPair();
    const kid = await keyThumbprint(pair.publicJwk);
    const wrapped = await this.vault.wrap(WRAPPED_FOR[purpose], kid, utf8(JSON.stringify(pair.privateJwk)));
    return on
      .insertInto('signing_keys')
      .values({
        kid,
        purpose,
        public_jwk: JSON.stringify(pair.publicJwk),
        wrapped_private: Buffer.from(wrapped),
        created_at: new Date(this.clock.nowMs()),
        signs_from: signsFrom,
      })
      .returningAll()
      .executeTakeFirstOrThrow();
  }

  /** Opens the private half of a stored key. @throws CryptoError `keys.wrapped-invalid`. */
  async openRow(row: SigningKeysRow): Promise<OwnSigningKey> {
    const opened = await this.vault.unwrap(WRAPPED_FOR[row.purpose], row.kid, row.wrapped_private);
    const privateJwk = JSON.parse(new TextDecoder().decode(opened)) as unknown;
    opened.fill(0);
    if (!isPrivateJwk(privateJwk)) throw new Error(`the ${row.purpose} key ${row.kid} is damaged`);
    return { ...(await importSigningKey(row.kid, privateJwk)), publicJwk: row.public_jwk };
  }

  private async open(purpose: SigningPurpose): Promise<OwnSigningKey> {
    const row = await this.database.transaction(async (on) => {
      await sql`select pg_advisory_xact_lock(hashtext(${`signing-key-${purpose}`}))`.execute(on);
      const newest = await on
        .selectFrom('signing_keys')
        .selectAll()
        .where('purpose', '=', purpose)
        .orderBy('created_at', 'desc')
        .limit(1)
        .executeTakeFirst();
      return newest ?? this.make(purpose, on);
    });
    return this.openRow(row);
  }
}
