import { hash } from 'node:crypto';

import type { Caller } from '@azaion/identity';
import type { Clock } from '@azaion/kernel';

const MOST_TOKENS = 10_000;

/** For how long tokens are remembered, and whose clock says when they expire. */
export interface TokenMemory {
  readonly clock: Clock;
  /** Milliseconds. A key that is withdrawn is believed for so long. */
  readonly ageMs: number;
}

/**
 * Tokens that were verified a moment ago, by their SHA-256: a client sends one token with many requests, and its signature costs more than all
 * else of a small one. Only for applications that look at account and session at every request: what is remembered says who called, never
 * that the caller is still in good standing.
 */
export class RecentTokens {
  private readonly known = new Map<string, { readonly caller: Caller; readonly untilMs: number }>();

  constructor(private readonly memory: TokenMemory) {}

  /** Whose token this is; `undefined` where it must be verified: it is unknown, was verified too long ago, or has expired. */
  find(token: string): Caller | undefined {
    const digest = hash('sha256', token);
    const found = this.known.get(digest);
    if (found === undefined) return undefined;
    const { clock } = this.memory;
    if (found.untilMs > clock.monotonicMs() && found.caller.expiresAt * 1000 > clock.nowMs()) return found.caller;
    this.known.delete(digest);
    return undefined;
  }

  /** @param caller - Of this token, verified in every respect just now. */
  keep(token: string, caller: Caller): void {
    const [oldest] = this.known.keys();
    if (this.known.size >= MOST_TOKENS && oldest !== undefined) this.known.delete(oldest);
    this.known.set(hash('sha256', token), { caller, untilMs: this.memory.clock.monotonicMs() + this.memory.ageMs });
  }
}
