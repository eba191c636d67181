import { ephemeralRecipient } from '@azaion/crypto';
import { type Caller, IdentityError } from '@azaion/identity';
import type { Clock } from '@azaion/kernel';
import type { Recipient, ResourceError } from '@azaion/split-resource';

/** Most sessions kept at once; beyond that the one used longest ago is forgotten. Its token goes on to verify. */
export const MAX_SESSIONS = 1024;
/** Most logged-out session ids remembered; each is forgotten when its token would have expired. */
const MAX_ENDED = 8192;

interface Session {
  readonly userId: string;
  readonly recipient: Promise<Recipient>;
  /** Seconds since 1970. */
  expiresAt: number;
}

/**
 * What belongs to one login and to nobody else: the key pair its grants are sealed to. One per `sid`, never process-wide, in memory only.
 * A restart forgets them; they are made anew when the token comes again.
 */
export class CallerSessions {
  /** In order of use, the oldest first. */
  private readonly sessions = new Map<string, Session>();
  private readonly ended = new Map<string, number>();

  constructor(
    private readonly clock: Clock,
    private readonly limit = MAX_SESSIONS,
  ) {}

  /** How many sessions are alive. */
  get size(): number {
    this.dropExpired();
    return this.sessions.size;
  }

  /**
   * The key that the caller's grants are sealed to.
   *
   * @param caller - Verified.
   * @throws IdentityError `token.invalid` when the caller has logged out.
   */
  async recipientOf(caller: Caller): Promise<Recipient> {
    this.assertOpen(caller);
    const known = this.sessions.get(caller.sessionId);
    // A session id belongs to one user for ever; a verified token that says otherwise gets a key of its own.
    const session: Session =
      known?.userId === caller.userId
        ? known
        : { userId: caller.userId, expiresAt: caller.expiresAt, recipient: newRecipient() };
    session.expiresAt = Math.max(session.expiresAt, caller.expiresAt);
    this.sessions.delete(caller.sessionId);
    this.sessions.set(caller.sessionId, session);
    this.evict();
    return session.recipient;
  }

  /** Forgets a session and refuses its tokens from here on. */
  end(caller: Caller): void {
    this.sessions.delete(caller.sessionId);
    this.ended.set(caller.sessionId, caller.expiresAt);
    if (this.ended.size > MAX_ENDED) this.dropExpired();
    const oldest = this.ended.keys().next().value;
    if (this.ended.size > MAX_ENDED && oldest !== undefined) this.ended.delete(oldest);
  }

  /**
   * Ends the session of a caller whom the Admin API no longer knows: a disabled account, an ended session.
   *
   * @param refusal - Of a call that carried the caller's token.
   * @param deviceIsGood - Whether the device's proof beside it was good: a 401 may speak of either.
   */
  learn(caller: Caller, refusal: ResourceError, deviceIsGood: boolean): void {
    const { cause } = refusal;
    const code = typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : undefined;
    if (code === 'user.disabled' || (refusal.code === 'api.unauthorized' && deviceIsGood)) this.end(caller);
  }

  /** @throws IdentityError `token.invalid` when the caller has logged out. */
  assertOpen(caller: Caller): void {
    if (this.ended.has(caller.sessionId))
      throw new IdentityError('token.invalid', 'This session has ended: log in again.');
  }

  private evict(): void {
    if (this.sessions.size > this.limit) this.dropExpired();
    for (const sessionId of this.sessions.keys()) {
      if (this.sessions.size <= this.limit) return;
      this.sessions.delete(sessionId);
    }
  }

  private dropExpired(): void {
    const nowSeconds = this.clock.nowMs() / 1000;
    for (const [sessionId, { expiresAt }] of this.sessions) if (expiresAt < nowSeconds) this.sessions.delete(sessionId);
    for (const [sessionId, expiresAt] of this.ended) if (expiresAt < nowSeconds) this.ended.delete(sessionId);
  }
}

async function newRecipient(): Promise<Recipient> {
  return { ...(await ephemeralRecipient()), serial: undefined };
}
