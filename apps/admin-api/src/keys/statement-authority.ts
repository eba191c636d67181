import {
  CryptoError,
  importVerificationKey,
  type KeyDocument,
  type PublicJwk,
  readKeyDocument,
  signKeyDocument,
  StatementKeys,
  type VerificationKey,
} from '@azaion/crypto';
import type { Clock } from '@azaion/kernel';
import { sql } from 'kysely';

import type { Actor, AuditLog } from '../audit/audit-log.js';
import { AdminError } from '../errors.js';
import { type Database, isUniqueViolation, type Queries } from '../persistence/database.js';
import type { OwnSigningKey, SigningKeys, SigningKeysRow } from './signing-keys.js';

const DOCUMENT_LIFE_SECONDS = 90 * 86_400;
const RENEW_BEFORE_SECONDS = 30 * 86_400;
/** How long a replica signs without asking which document is in force. */
const FRESH_MS = 5_000;

/** The offline root's public half, and a key document that it signed, if one came with the configuration. */
export interface OfflineRoot {
  readonly root: PublicJwk;
  readonly rootKid: string;
  readonly jws: string | undefined;
}

/** A key document in force. */
export interface DocumentInForce {
  readonly jws: string;
  readonly document: KeyDocument;
}

/** One of this API's statement keys as an administrator sees it. */
export interface StatementKeyView {
  readonly kid: string;
  readonly key: PublicJwk;
  readonly createdAt: Date;
  /** Whether the document in force names it: readers trust what it signed. */
  readonly inDocument: boolean;
  /** Whether it signs from now on: the newest that the document names. */
  readonly signs: boolean;
}

/**
 * Signs statements and grant tokens, and publishes the document that names the signing keys. Of this API's keys the newest that the document
 * in force names is the one that signs: a key is made first, then named by the offline root, then used. Source: docs/how-to/rotate-keys.md.
 */
export class StatementAuthority {
  private current:
    { readonly key: OwnSigningKey; readonly inForce: DocumentInForce; readonly atMs: number } | undefined;

  /** @param offline - `undefined` in development: then the API makes its root by itself. */
  constructor(
    private readonly keys: SigningKeys,
    private readonly database: Database,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
    private readonly offline: OfflineRoot | undefined,
  ) {}

  /** The key that signs statements and grant tokens. @param on - The caller's transaction, so that it needs no second connection. */
  async signingKey(on?: Queries): Promise<OwnSigningKey> {
    return (await this.inUse(on)).key;
  }

  /** Ids of the keys whose signatures readers accept now. */
  async trustedKeyIds(on?: Queries): Promise<readonly string[]> {
    return (await this.inUse(on)).inForce.document.keys.map(({ kid }) => kid);
  }

  /**
   * Checks at start that readers will accept what this API signs. A document of the configuration that is newer than those taken before is taken.
   *
   * @throws Error that tells the operator which key the offline root must sign; CryptoError `key-document.invalid` | `key-document.expired`.
   */
  async start(): Promise<void> {
    if (this.offline) {
      const known = await this.newest();
      const { jws } = this.offline;
      const given = jws === undefined ? undefined : await readKeyDocument(jws, await this.rootKey());
      if (jws !== undefined && given !== undefined && given.version > (known?.document.version ?? 0)) {
        await this.usable(jws);
        await this.keep(this.database.queries, jws);
      } else if (known !== undefined) await this.usable(known.jws);
    }
    await this.inUse();
  }

  /** The keys whose statements readers accept, from the current key document. */
  async trustedKeys(): Promise<StatementKeys> {
    return this.verified(await this.keyDocument());
  }

  /** The compact JWS of the current key document. */
  async keyDocument(): Promise<string> {
    return (await this.inForce()).jws;
  }

  /** The public root of a development API; `undefined` where the root is kept elsewhere. */
  async developmentRoot(): Promise<{ readonly kid: string; readonly key: PublicJwk } | undefined> {
    if (this.offline) return undefined;
    const { kid, publicJwk } = await this.keys.signing('root');
    return { kid, key: publicJwk };
  }

  /** All statement keys of this API, newest first, and the document in force. */
  async view(): Promise<{ readonly inForce: KeyDocument; readonly keys: readonly StatementKeyView[] }> {
    this.current = undefined;
    const { key: signing, inForce } = await this.inUse();
    const named = new Set(inForce.document.keys.map(({ kid }) => kid));
    const rows = await this.rows();
    return {
      inForce: inForce.document,
      keys: rows.map(({ kid, public_jwk: key, created_at: createdAt }) => ({
        kid,
        key,
        createdAt,
        inDocument: named.has(kid),
        signs: kid === signing.kid,
      })),
    };
  }

  /**
   * Makes another statement key. It signs nothing before a key document names it; a development API, which has the root itself, names it at once.
   *
   * @returns What the offline root has to sign.
   */
  async makeKey(actor: Actor): Promise<{ readonly kid: string; readonly key: PublicJwk }> {
    const { kid, public_jwk: key } = await this.database.transaction(async (on) => {
      const made = await this.keys.make('statement', on);
      await this.audit.record(on, { event: 'statement-key.made', actor, subject: made.kid });
      return made;
    });
    this.current = undefined;
    return { kid, key };
  }

  /**
   * Takes a key document that the offline root signed. From then on this API signs with its newest key that the document names; statements by
   * keys that it leaves out are no longer trusted by readers.
   *
   * @param jws - Untrusted.
   * @throws AdminError `statement-key.document-refused` (not by the root, or expired) | `statement-key.document-older` (not newer than the one in
   *   force) | `statement-key.not-named` | `statement-key.own-root`.
   */
  async accept(jws: string, actor: Actor): Promise<KeyDocument> {
    if (!this.offline)
      throw new AdminError(
        'statement-key.own-root',
        'This API made its root key itself and signs key documents by itself: configure STATEMENT_ROOT_KEY_FILE to use an offline root.',
      );
    const document = await this.verified(jws)
      .then(async () => readKeyDocument(jws, await this.rootKey()))
      .catch((cause: unknown) => {
        throw cause instanceof CryptoError
          ? new AdminError('statement-key.document-refused', cause.message, { cause })
          : cause;
      });
    const own = await this.rows();
    if (!own.some(({ kid }) => document.keys.some((named) => named.kid === kid)))
      throw new AdminError(
        'statement-key.not-named',
        `The key document names none of this API's statement keys: nothing could be signed. ${await this.whatToSign()}`,
      );
    await this.database.transaction(async (on) => {
      await sql`select pg_advisory_xact_lock(hashtext('key-document'))`.execute(on);
      const newest = await this.newest(on);
      if (newest !== undefined && document.version <= newest.document.version)
        throw new AdminError(
          'statement-key.document-older',
          `The key document has version ${document.version}, the one in force ${newest.document.version}: sign one with a higher version.`,
        );
      await this.keep(on, jws);
      await this.audit.record(on, {
        event: 'key-document.accepted',
        actor,
        subject: String(document.version),
        details: { keys: document.keys.map(({ kid }) => kid).join(' '), expiresAt: document.expiresAt },
      });
    });
    this.current = undefined;
    return document;
  }

  private async inUse(
    on: Queries = this.database.queries,
  ): Promise<{ readonly key: OwnSigningKey; readonly inForce: DocumentInForce }> {
    if (this.current !== undefined && this.clock.monotonicMs() - this.current.atMs < FRESH_MS) return this.current;
    const inForce = await this.inForce(on);
    const named = new Set(inForce.document.keys.map(({ kid }) => kid));
    const row = (await this.rows(on)).find(({ kid }) => named.has(kid));
    if (row === undefined)
      throw new Error(`The key document does not name this API's statement key. ${await this.whatToSign(on)}`);
    const key = this.current?.key.kid === row.kid ? this.current.key : await this.keys.openRow(row);
    this.current = { key, inForce, atMs: this.clock.monotonicMs() };
    return this.current;
  }

  private async inForce(on: Queries = this.database.queries): Promise<DocumentInForce> {
    if (!this.offline) return this.ownDocument(on);
    const newest = await this.newest(on);
    if (newest === undefined) throw new Error(`There is no key document yet. ${await this.whatToSign(on)}`);
    return newest;
  }

  /** The newest document that the root signed. One of an earlier root, as a development API makes it, is none. */
  private async newest(on: Queries = this.database.queries): Promise<DocumentInForce | undefined> {
    const rows = await on.selectFrom('key_documents').select('jws').orderBy('version', 'desc').execute();
    for (const { jws } of rows) {
      const document = await this.read(jws);
      if (document !== undefined) return { jws, document };
    }
    return undefined;
  }

  private readonly readBefore = new Map<string, KeyDocument>();

  /** A document by this root, `undefined` for any other. Each is verified once. */
  private async read(jws: string): Promise<KeyDocument | undefined> {
    const before = this.readBefore.get(jws);
    if (before !== undefined) return before;
    try {
      const document = await readKeyDocument(jws, await this.rootKey());
      if (this.readBefore.size > 8) this.readBefore.clear();
      this.readBefore.set(jws, document);
      return document;
    } catch (error) {
      if (error instanceof CryptoError) return undefined;
      throw error;
    }
  }

  /** Checks that readers accept a document, and that this API can sign under it. */
  private async usable(jws: string): Promise<void> {
    const keys = await this.verified(jws);
    const own = await this.rows();
    if (!own.some(({ kid }) => keys.has(kid)))
      throw new Error(`The key document does not name this API's statement key. ${await this.whatToSign()}`);
  }

  private async verified(jws: string): Promise<StatementKeys> {
    return StatementKeys.verify(jws, await this.rootKey(), 0, this.nowSeconds());
  }

  private async rootKey(): Promise<VerificationKey> {
    if (this.offline) return importVerificationKey(this.offline.rootKid, this.offline.root);
    const { kid, publicJwk } = await this.keys.signing('root');
    return importVerificationKey(kid, publicJwk);
  }

  private rows(on: Queries = this.database.queries): Promise<readonly SigningKeysRow[]> {
    return on
      .selectFrom('signing_keys')
      .selectAll()
      .where('purpose', '=', 'statement')
      .orderBy('created_at', 'desc')
      .execute();
  }

  private async whatToSign(on?: Queries): Promise<string> {
    await this.keys.signing('statement'); // made where there is none
    const [newest] = await this.rows(on);
    const { kid, public_jwk: publicJwk } = newest ?? { kid: '', public_jwk: undefined };
    return `Sign a document with the offline root that holds {"kid":"${kid}","alg":"ES256","key":${JSON.stringify(publicJwk)}}.`;
  }

  private async ownDocument(reading: Queries): Promise<DocumentInForce> {
    const signing = await this.keys.signing('statement');
    const root = await this.keys.signing('root');
    const isGood = (found: DocumentInForce | undefined, kids: readonly string[]): found is DocumentInForce =>
      found !== undefined &&
      found.document.expiresAt > this.nowSeconds() + RENEW_BEFORE_SECONDS &&
      [signing.kid, ...kids].every((kid) => found.document.keys.some((named) => named.kid === kid));
    const published = await this.keys.published('statement', reading);
    const kids = published.map(({ kid }) => kid);
    const known = await this.newest(reading);
    if (isGood(known, kids)) return known;
    const renew = async (on: Queries): Promise<DocumentInForce> => {
      await sql`select pg_advisory_xact_lock(hashtext('key-document'))`.execute(on);
      const newest = await this.newest(on);
      if (isGood(newest, kids)) return newest;
      // Of any root: numbers are not used twice.
      const last = await on
        .selectFrom('key_documents')
        .select('version')
        .orderBy('version', 'desc')
        .limit(1)
        .executeTakeFirst();
      const document: KeyDocument = {
        version: (last?.version ?? 0) + 1,
        expiresAt: this.nowSeconds() + DOCUMENT_LIFE_SECONDS,
        keys: published.map(({ kid, key }) => ({ kid, alg: 'ES256' as const, key })),
      };
      const jws = await signKeyDocument(document, root);
      await this.keep(on, jws);
      return { jws, document };
    };
    // In a transaction of the caller's: a second one would need a second connection.
    return reading.isTransaction ? renew(reading) : this.database.transaction(renew);
  }

  /** @param jws - By the root, and with a version that no other has. */
  private async keep(on: Queries, jws: string): Promise<void> {
    const { version, expiresAt } = await readKeyDocument(jws, await this.rootKey());
    const row = { version, jws, expires_at: new Date(expiresAt * 1000) };
    // A number that a document of another root has is free: that one is none any more.
    const taken = await on.selectFrom('key_documents').select('jws').where('version', '=', version).executeTakeFirst();
    try {
      if (taken === undefined) await on.insertInto('key_documents').values(row).execute();
      else if ((await this.read(taken.jws)) === undefined)
        await on.updateTable('key_documents').set(row).where('version', '=', version).execute();
    } catch (error) {
      if (!isUniqueViolation(error)) throw error; // another replica with the same configuration was faster
    }
  }

  private nowSeconds(): number {
    return Math.floor(this.clock.nowMs() / 1000);
  }
}
