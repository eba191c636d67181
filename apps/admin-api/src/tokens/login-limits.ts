import { hash } from 'node:crypto';
import { isIPv6 } from 'node:net';

import { IdentityError } from '@azaion/identity';
import type { Clock } from '@azaion/kernel';
import { type RawBuilder, sql } from 'kysely';

import type { Database, Queries } from '../persistence/database.js';
import { Turns } from './turns.js';

/** How many logins are let through. */
export interface LoginLimitSettings {
  /** Attempts a minute from one address, and as many failed ones of devices. */
  readonly perAddress: number;
  /** Attempts in five minutes for one account from one address; a good login starts over. */
  readonly perAccount: number;
  /** Failures for one account from one address until it is locked for 15 minutes. */
  readonly failuresUntilLock: number;
}

const MINUTE_SECONDS = 60;
const ACCOUNT_WINDOW_SECONDS = 5 * 60;
const LOCK_SECONDS = 15 * 60;
const REFRESHES_PER_MINUTE = 30;
const MOST_WAITING_FOR_ONE = 64;

/** Limits on guessing passwords, counted in the database so that replicas agree. Nobody elsewhere can lock an account out. */
export class LoginLimits {
  private readonly turns = new Turns(MOST_WAITING_FOR_ONE);

  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
    private readonly limits: LoginLimitSettings,
  ) {}

  /** Counts an attempt. @throws IdentityError `login.rate-limited` with `retryAfterSeconds`. */
  async take(email: string, address: string): Promise<void> {
    await this.consume(`address ${network(address)}`, MINUTE_SECONDS, this.limits.perAddress);
    await this.consume(`attempts ${pair(email, address)}`, ACCOUNT_WINDOW_SECONDS, this.limits.perAccount);
  }

  /** Whether guesses at this account from this address have used up their window; counts nothing. @throws as {@link take}. */
  async assertNotExhausted(email: string, address: string): Promise<void> {
    const row = await this.database.queries
      .selectFrom('rate_limits')
      .selectAll()
      .where('key', '=', `attempts ${pair(email, address)}`)
      .executeTakeFirst();
    if (row && row.count >= this.limits.perAccount && row.resets_at.getTime() > this.clock.nowMs())
      throw this.limited(row.resets_at);
  }

  /** Counts a device's failed login: good ones are not limited, many devices may share an address. @throws as {@link take}. */
  async deviceFailed(address: string): Promise<void> {
    await this.consume(`devices ${network(address)}`, MINUTE_SECONDS, this.limits.perAddress);
  }

  /** Counts a refresh token that was refused: good ones are not limited by address, many sessions may share one. @throws as {@link take}. */
  async refreshFailed(address: string): Promise<void> {
    await this.consume(`refused refreshes ${network(address)}`, MINUTE_SECONDS, this.limits.perAddress);
  }

  /** Counts a session's refresh, in the caller's transaction. @throws as {@link take}. */
  async refreshed(on: Queries, sessionId: string): Promise<void> {
    await this.consume(`refreshes ${sessionId}`, MINUTE_SECONDS, REFRESHES_PER_MINUTE, on);
  }

  /** Whether the account is locked for this address right now. */
  async isLocked(email: string, address: string): Promise<boolean> {
    const row = await this.database.queries
      .selectFrom('rate_limits')
      .selectAll()
      .where('key', '=', `failures ${pair(email, address)}`)
      .executeTakeFirst();
    return (
      row !== undefined && row.count >= this.limits.failuresUntilLock && row.resets_at.getTime() > this.clock.nowMs()
    );
  }

  /**
   * Counts a failure. The one that reaches the limit locks the account for {@link LOCK_SECONDS}; while it is locked nothing is counted, so that
   * whoever goes on trying with the right password gets in when the time is over.
   */
  async failed(email: string, address: string): Promise<void> {
    const now = new Date(this.clock.nowMs());
    const locked = sql<boolean>`(rate_limits.resets_at > ${now} and rate_limits.count >= ${this.limits.failuresUntilLock})`;
    const resetsAt = new Date(now.getTime() + LOCK_SECONDS * 1000);
    await this.database.queries
      .insertInto('rate_limits')
      .values({ key: `failures ${pair(email, address)}`, count: 1, resets_at: resetsAt })
      .onConflict((conflict) =>
        conflict
          .column('key')
          .doUpdateSet({
            count: oneMore(now),
            resets_at: resetsAt,
          })
          .where((where) => where.not(locked)),
      )
      .execute();
  }

  /**
   * Makes attempts on one account from one address wait for each other, in this process: what looks at the counts first and counts afterwards
   * would let through whatever comes at the same moment.
   *
   * @throws AdminError `hashing.busy` when too many wait already; what the work throws.
   */
  inTurn<T>(email: string, address: string, work: () => Promise<T>): Promise<T> {
    return this.turns.take(pair(email, address), work);
  }

  /** A good login starts the account's counts over. */
  async succeeded(email: string, address: string): Promise<void> {
    await this.database.queries
      .deleteFrom('rate_limits')
      .where('key', 'in', [`attempts ${pair(email, address)}`, `failures ${pair(email, address)}`])
      .execute();
  }

  /** Forgets counts that have run out. */
  async sweep(): Promise<void> {
    await this.database.queries
      .deleteFrom('rate_limits')
      .where('resets_at', '<', new Date(this.clock.nowMs()))
      .execute();
  }

  private async consume(key: string, windowSeconds: number, limit: number, on?: Queries): Promise<void> {
    const { count, resets_at: resetsAt } = await this.count(key, windowSeconds, on);
    if (count > limit) throw this.limited(resetsAt);
  }

  private limited(resetsAt: Date): IdentityError {
    return new IdentityError('login.rate-limited', 'Too many attempts: wait and try again.', {
      details: { retryAfterSeconds: Math.max(1, Math.ceil((resetsAt.getTime() - this.clock.nowMs()) / 1000)) },
    });
  }

  /** One statement, so that attempts at the same moment are all counted. */
  private async count(
    key: string,
    windowSeconds: number,
    on: Queries = this.database.queries,
  ): Promise<{ count: number; resets_at: Date }> {
    const now = new Date(this.clock.nowMs());
    const resetsAt = new Date(this.clock.nowMs() + windowSeconds * 1000);
    return on
      .insertInto('rate_limits')
      .values({ key, count: 1, resets_at: resetsAt })
      .onConflict((conflict) =>
        conflict.column('key').doUpdateSet({
          count: oneMore(now),
          resets_at: sql<Date>`case when rate_limits.resets_at <= ${now} then ${resetsAt} else rate_limits.resets_at end`,
        }),
      )
      .returning(['count', 'resets_at'])
      .executeTakeFirstOrThrow();
  }
}

/** The count after one more, which starts over when its time has run out. */
function oneMore(now: Date): RawBuilder<number> {
  return sql<number>`case when rate_limits.resets_at <= ${now} then 1 else rate_limits.count + 1 end`;
}

/** E-mail addresses do not stand in the table of counts. */
function pair(email: string, address: string): string {
  return `${hash('sha256', email.toLowerCase(), 'hex').slice(0, 32)} ${network(address)}`;
}

/** Whoever has one IPv6 address has 2^64 of them: the first four groups count. */
function network(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = '', tail] = (address.split('%')[0] ?? '').toLowerCase().split('::');
  const groups = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const inTail = after.length + (after.at(-1)?.includes('.') === true ? 1 : 0); // a.b.c.d stands for two groups
  const whole =
    tail === undefined ? groups : [...groups, ...Array<string>(8 - groups.length - inTail).fill('0'), ...after];
  const first = whole.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16));
  // IPv4 in IPv6 form differs in its last groups alone.
  return first.every((group) => group === '0') ? address : `${first.join(':')}::/64`;
}
