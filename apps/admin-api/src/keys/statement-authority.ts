import {
  importVerificationKey,
  type PublicJwk,
  signKeyDocument,
  StatementKeys,
  type VerificationKey,
} from '@azaion/crypto';
import { type Clock } from '@azaion/kernel';
import { sql } from 'kysely';

import { type Database } from '../persistence/database.js';
import { type OwnSigningKey, type SigningKeys } from './signing-keys.js';

const DOCUMENT_LIFE_SECONDS = 90 * 86_400;
const RENEW_BEFORE_SECONDS = 30 * 86_400;

/** A key document that was signed elsewhere by the offline root, with that root's public half. */
export interface OfflineKeyDocument {
  readonly jws: string;
  readonly root: PublicJwk;
  readonly rootKid: string;
}

/** Signs statements and grant tokens, and publishes the document that names the signing keys. */
export class StatementAuthority {
  private document: string | undefined;

  /** @param offline - `undefined` in development: then the API makes its root by itself. */
  constructor(
    private readonly keys: SigningKeys,
    private readonly database: Database,
    private readonly clock: Clock,
    private readonly offline: OfflineKeyDocument | undefined,
  ) {}

  /** The key that signs statements and grant tokens. */
  signingKey(): Promise<OwnSigningKey> {
    return this.keys.signing('statement');
  }

  /**
   * Checks at start that readers will accept what this API signs.
   *
   * @throws Error that tells the operator which key the offline root must sign.
   */
  async start(): Promise<void> {
    const signing = await this.signingKey();
    await this.keyDocument();
    if (!this.offline) return;
    const trusted = await this.trustedKeys();
    if (!trusted.has(signing.kid))
      throw new Error(
        `The key document does not name this API's statement key. Sign a document with the offline root that holds {"kid":"${signing.kid}","alg":"ES256","key":${JSON.stringify(signing.publicJwk)}}.`,
      );
  }

  /** The keys whose statements readers accept, from the current key document. */
  async trustedKeys(): Promise<StatementKeys> {
    const { kid, publicJwk } = this.offline
      ? { kid: this.offline.rootKid, publicJwk: this.offline.root }
      : await this.keys.signing('root');
    const root = await importVerificationKey(kid, publicJwk);
    return StatementKeys.verify(await this.keyDocument(), root, 0, this.nowSeconds());
  }

  /** The compact JWS of the current key document. */
  async keyDocument(): Promise<string> {
    if (this.offline) return this.offline.jws;
    return (this.document ??= await this.ownDocument());
  }

  /** The public root of a development API; `undefined` where the root is kept elsewhere. */
  async developmentRoot(): Promise<{ readonly kid: string; readonly key: PublicJwk } | undefined> {
    if (this.offline) return undefined;
    const { kid, publicJwk } = await this.keys.signing('root');
    return { kid, key: publicJwk };
  }

  private async ownDocument(): Promise<string> {
    const signing = await this.signingKey();
    const root = await this.keys.signing('root');
    const rootKey: VerificationKey = await importVerificationKey(root.kid, root.publicJwk);
    return this.database.transaction(async (on) => {
      await sql`select pg_advisory_xact_lock(hashtext('key-document'))`.execute(on);
      const newest = await on
        .selectFrom('key_documents')
        .selectAll()
        .orderBy('version', 'desc')
        .limit(1)
        .executeTakeFirst();
      const goodUntilMs = newest?.expires_at.getTime() ?? 0;
      if (newest && goodUntilMs > this.clock.nowMs() + RENEW_BEFORE_SECONDS * 1000) {
        const keys = await StatementKeys.verify(newest.jws, rootKey, 0, this.nowSeconds());
        if (keys.has(signing.kid)) return newest.jws;
      }
      const version = (newest?.version ?? 0) + 1;
      const expiresAt = this.nowSeconds() + DOCUMENT_LIFE_SECONDS;
      const published = await this.keys.published('statement', on);
      const jws = await signKeyDocument(
        { version, expiresAt, keys: published.map(({ kid, key }) => ({ kid, alg: 'ES256' as const, key })) },
        root,
      );
      await on
        .insertInto('key_documents')
        .values({ version, jws, expires_at: new Date(expiresAt * 1000) })
        .execute();
      return jws;
    });
  }

  private nowSeconds(): number {
    return Math.floor(this.clock.nowMs() / 1000);
  }
}
