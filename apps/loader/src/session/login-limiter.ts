import { IdentityError } from '@azaion/identity';
import type { Clock } from '@azaion/kernel';

/** Attempts one address may make in {@link WINDOW_MS}. */
export const MAX_ATTEMPTS = 10;
/** Length of the window. */
export const WINDOW_MS = 60_000;
const MAX_ADDRESSES = 4096;

/** Slows password guessing down before it reaches the Admin API: a fixed number of logins per address and minute, successful ones among them. */
export class LoginLimiter {
  private readonly windows = new Map<string, { readonly startMs: number; attempts: number }>();

  constructor(private readonly clock: Clock) {}

  /** Counts one attempt. @throws IdentityError `login.rate-limited` with `retryAfterSeconds`. */
  admit(address: string): void {
    const nowMs = this.clock.monotonicMs();
    let window = this.windows.get(address);
    if (window === undefined || nowMs - window.startMs >= WINDOW_MS) {
      this.makeRoom(nowMs);
      window = { startMs: nowMs, attempts: 0 };
      this.windows.set(address, window);
    }
    window.attempts += 1;
    if (window.attempts > MAX_ATTEMPTS) {
      const retryAfterSeconds = Math.max(1, Math.ceil((window.startMs + WINDOW_MS - nowMs) / 1000));
      throw new IdentityError('login.rate-limited', 'Too many logins from this address: wait and try again.', {
        details: { retryAfterSeconds },
      });
    }
  }

  private makeRoom(nowMs: number): void {
    if (this.windows.size < MAX_ADDRESSES) return;
    for (const [address, { startMs }] of this.windows) if (nowMs - startMs >= WINDOW_MS) this.windows.delete(address);
    const oldest = this.windows.keys().next().value;
    if (this.windows.size >= MAX_ADDRESSES && oldest !== undefined) this.windows.delete(oldest);
  }
}
