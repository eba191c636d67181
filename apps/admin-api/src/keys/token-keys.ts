import type { PublicJwk } from '@azaion/crypto';
import type { Clock } from '@azaion/kernel';
import { sql } from 'kysely';

import type { Actor, AuditLog } from '../audit/audit-log.js';
import { AdminError } from '../errors.js';
import type { Database, Queries } from '../persistence/database.js';
import type { OwnSigningKey, SigningKeys, SigningKeysRow } from './signing-keys.js';

/**
 * How long a new key is published before it signs: whoever verifies tokens keeps the published set for up to ten minutes, and an HTTP cache for
 * five.
 */
export const PUBLISHED_AHEAD_SECONDS = 15 * 60;
/** Replicas look for new keys this often. */
export const TOKEN_KEY_INTERVAL_MS = 15_000;
/** Beyond this age what a replica knows is asked for before the next token is signed. */
const MAX_AGE_MS = 60_000;
/** How far the clocks of replicas may be apart, and how long an older key may sign on because of that. */
const SLACK_SECONDS = 120;

/** What a rotation set up. */
export interface TokenKeyRotation {
  readonly kid: string;
  readonly signsFrom: Date;
  /** When the last token of the key before is dead, and that key goes. */
  readonly olderKeyUntil: Date;
}

/**
 * The keys that sign access tokens. A new one is published before it signs, and an old one stays published until its tokens are dead, so that
 * no request fails in between. Source: docs/how-to/rotate-keys.md.
 */
export class TokenKeys {
  /** Newest first, one that does not sign yet among them. */
  private known: readonly SigningKeysRow[] = [];
  private readAtMs = -Infinity;
  private reading: Promise<void> | undefined;
  private readonly opened = new Map<string, Promise<OwnSigningKey>>();

  constructor(
    private readonly database: Database,
    private readonly keys: SigningKeys,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
    /** How long a token lives. */
    private readonly tokenSeconds: number,
  ) {}

  /** The key that signs now; the first one is made at the first call of the first replica. Not to be called within a transaction: it may need a connection. */
  async signing(): Promise<OwnSigningKey> {
    if (this.clock.monotonicMs() - this.readAtMs > MAX_AGE_MS) await this.refresh();
    const nowMs = this.clock.nowMs();
    const row = this.known.find(({ signs_from: from }) => from.getTime() <= nowMs) ?? this.known.at(-1);
    if (!row) throw new Error('there is no token key');
    const known = this.opened.get(row.kid);
    if (known) return known;
    const opening = this.keys.openRow(row);
    this.opened.set(row.kid, opening);
    opening.catch(() => this.opened.delete(row.kid));
    return opening;
  }

  /** Public halves of all keys that may have signed a living token, or will sign soon; newest first. */
  async published(): Promise<readonly { readonly kid: string; readonly key: PublicJwk }[]> {
    await this.refresh();
    return this.living(this.known).map(({ kid, public_jwk: key }) => ({ kid, key }));
  }

  /** Looks for keys that another replica or a command made. */
  async refresh(): Promise<void> {
    this.reading ??= this.read().finally(() => (this.reading = undefined));
    await this.reading;
  }

  /**
   * Makes a key that signs after {@link PUBLISHED_AHEAD_SECONDS}.
   *
   * @throws AdminError `token-key.rotating` while the key before does not sign yet.
   */
  async rotate(actor: Actor): Promise<TokenKeyRotation> {
    await this.refresh();
    const nowMs = this.clock.nowMs();
    return this.database.transaction(async (on) => {
      const [newest] = await this.rows(on, true);
      if (newest && newest.signs_from.getTime() > nowMs)
        throw new AdminError(
          'token-key.rotating',
          `A rotation is under way: the key ${newest.kid} is published and signs from ${newest.signs_from.toISOString()} on.`,
        );
      const signsFrom = new Date(nowMs + PUBLISHED_AHEAD_SECONDS * 1000);
      const { kid } = await this.keys.make('token', on, signsFrom);
      await this.audit.record(on, {
        event: 'token-key.rotated',
        actor,
        subject: kid,
        details: { signsFrom: signsFrom.toISOString() },
      });
      return { kid, signsFrom, olderKeyUntil: new Date(this.deadFrom(signsFrom)) };
    });
  }

  /** Forgets keys, private halves too, whose tokens are all dead. */
  async sweep(): Promise<void> {
    await this.database.transaction(async (on) => {
      const rows = await this.rows(on, true);
      const living = this.living(rows);
      const dead = rows.filter((row) => !living.includes(row)).map(({ kid }) => kid);
      if (dead.length > 0) await on.deleteFrom('signing_keys').where('kid', 'in', dead).execute();
    });
  }

  private async read(): Promise<void> {
    const atMs = this.clock.monotonicMs();
    let rows = await this.rows(this.database.queries, false);
    if (rows.length === 0)
      rows = await this.database.transaction(async (on) => {
        const made = await this.rows(on, true);
        return made.length > 0 ? made : [await this.keys.make('token', on)];
      });
    this.known = rows;
    this.readAtMs = atMs;
    for (const kid of this.opened.keys()) if (!rows.some((row) => row.kid === kid)) this.opened.delete(kid);
  }

  private async rows(on: Queries, lock: boolean): Promise<readonly SigningKeysRow[]> {
    if (lock) await sql`select pg_advisory_xact_lock(hashtext('token-keys'))`.execute(on);
    return on
      .selectFrom('signing_keys')
      .selectAll()
      .where('purpose', '=', 'token')
      .orderBy('signs_from', 'desc')
      .orderBy('kid')
      .execute();
  }

  /** A key dies a token's life after its successor began to sign. */
  private living(rows: readonly SigningKeysRow[]): readonly SigningKeysRow[] {
    const nowMs = this.clock.nowMs();
    return rows.filter((_, index) => {
      const successor = rows[index - 1];
      return successor === undefined || this.deadFrom(successor.signs_from) > nowMs;
    });
  }

  private deadFrom(successorSignsFrom: Date): number {
    return successorSignsFrom.getTime() + (this.tokenSeconds + SLACK_SECONDS) * 1000;
  }
}
