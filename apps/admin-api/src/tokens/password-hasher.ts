import { createHmac, hash as digest, randomBytes } from 'node:crypto';

import { equalBytes, type Secret, utf8 } from '@azaion/kernel';
import { hash, verify } from '@node-rs/argon2';

import { AdminError } from '../errors.js';
import type { ServiceSecrets } from '../keys/service-secrets.js';

const ARGON2ID = { algorithm: 2, parallelism: 1 } as const;
const COST = /^\$argon2id\$v=19\$m=(?<memoryKib>\d+),t=(?<passes>\d+),p=1\$/;
const HASHES_AT_ONCE = 2;
const MOST_WAITING = 200;
const DEVICE_PREFIX = 'hmac-sha256:';
/** Longest password looked at. */
export const MAX_PASSWORD_CHARS = 256;

/** What one Argon2id hash costs. The floor is OWASP's: 19 MiB and two passes. */
export interface PasswordCost {
  readonly memoryKib: number;
  readonly passes: number;
}

/** What a check of a password came to. */
export interface PasswordCheck {
  readonly correct: boolean;
  /** Stored in an older or weaker form: replace it with a fresh {@link PasswordHasher.hash}. */
  readonly outdated: boolean;
}

/**
 * Stores and checks passwords. Every check costs the same Argon2id computations, whatever is stored, so that time tells nothing: one of each cost
 * that stored passwords have, which is one alone but for a while after the cost was raised.
 */
export class PasswordHasher {
  private running = 0;
  private computed = 0;
  private readonly waiting: (() => void)[] = [];
  /** Something to compute on for each cost, where the password at hand has another. */
  private dummies: ReadonlyMap<string, Promise<string>>;

  constructor(
    private readonly secrets: Pick<ServiceSecrets, 'get'>,
    private readonly cost: PasswordCost,
  ) {
    this.dummies = new Map([[textOf(cost), this.slowHash(randomBytes(16), cost)]]);
  }

  /** Makes every check cost a computation of each of these, beside the one of new passwords. */
  reckonWith(costs: readonly PasswordCost[]): void {
    const known = this.dummies;
    this.dummies = new Map(
      [this.cost, ...costs].map((cost) => {
        const text = textOf(cost);
        return [text, known.get(text) ?? this.slowHash(randomBytes(16), cost)];
      }),
    );
  }

  /** How many Argon2id computations were made so far: what a login costs, and all that its time can tell. */
  get computations(): number {
    return this.computed;
  }

  /** The stored form of a person's password. */
  hash(password: Secret<string>): Promise<string> {
    return this.inTurn(() => this.compute(() => this.slowHash(password.reveal())));
  }

  /** The stored form of a device's password, which is 128 random bits and needs no slow hash. */
  async hashDevicePassword(password: Secret<string>): Promise<string> {
    return DEVICE_PREFIX + (await this.deviceMac(password)).toString('hex');
  }

  /** Checks a password. @param stored - `undefined` when there is nothing to check against; the answer is no, in the same time. */
  async check(stored: string | undefined, password: Secret<string>): Promise<PasswordCheck> {
    const slow = stored?.startsWith('$argon2') === true ? stored : undefined;
    const matches = await this.inTurn(() => this.verifyAll(slow, password));
    if (stored === undefined) return { correct: false, outdated: false };
    if (slow !== undefined) return { correct: matches, outdated: this.isWeaker(slow) };
    if (stored.startsWith(DEVICE_PREFIX)) {
      const expected = Buffer.from(stored.slice(DEVICE_PREFIX.length), 'hex');
      return { correct: equalBytes(await this.deviceMac(password), expected), outdated: false };
    }
    // An older installation's unsalted SHA-384.
    const older = digest('sha384', password.reveal(), 'base64');
    return { correct: equalBytes(utf8(older), utf8(stored)), outdated: true };
  }

  /** One computation of each cost, the stored password's among them. */
  private async verifyAll(stored: string | undefined, password: Secret<string>): Promise<boolean> {
    const costOfStored = stored === undefined ? undefined : costOf(stored);
    const own = costOfStored === undefined ? undefined : textOf(costOfStored);
    let matches = false;
    for (const [cost, dummy] of this.dummies) {
      const isOwn = stored !== undefined && cost === own;
      const good = await this.compute(async () => verify(isOwn ? stored : await dummy, password.reveal()));
      if (isOwn) matches = good;
    }
    // Of a cost that nobody knew of, from a replica with other settings.
    if (stored !== undefined && (own === undefined || !this.dummies.has(own)))
      matches = await this.compute(() => verify(stored, password.reveal()));
    return matches;
  }

  private slowHash(password: string | Buffer, { memoryKib, passes } = this.cost): Promise<string> {
    return hash(password, { ...ARGON2ID, memoryCost: memoryKib, timeCost: passes });
  }

  private isWeaker(stored: string): boolean {
    const cost = costOf(stored);
    return cost === undefined || cost.memoryKib < this.cost.memoryKib || cost.passes < this.cost.passes;
  }

  private compute<T>(work: () => Promise<T>): Promise<T> {
    this.computed += 1;
    return work();
  }

  private async deviceMac(password: Secret<string>): Promise<Buffer> {
    return createHmac('sha256', await this.secrets.get('device-password'))
      .update(password.reveal())
      .digest();
  }

  /** Two at once: each takes a core, and memory. */
  private async inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.running >= HASHES_AT_ONCE) {
      if (this.waiting.length >= MOST_WAITING) throw tooBusy();
      await new Promise<void>((turn) => this.waiting.push(turn));
    } else this.running += 1;
    try {
      return await work();
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.running -= 1;
    }
  }
}

/** What a stored hash cost; `undefined` for one of another form. */
export function costOf(stored: string): PasswordCost | undefined {
  const { memoryKib, passes } = COST.exec(stored)?.groups ?? {};
  return memoryKib === undefined ? undefined : { memoryKib: Number(memoryKib), passes: Number(passes) };
}

function textOf({ memoryKib, passes }: PasswordCost): string {
  return `${String(memoryKib)} ${String(passes)}`;
}

/** The answer to whoever would have to wait behind too many others. */
export function tooBusy(): AdminError {
  return new AdminError('hashing.busy', 'Too many logins at once: try again in a few seconds.', {
    details: { retryAfterSeconds: 5 },
  });
}
