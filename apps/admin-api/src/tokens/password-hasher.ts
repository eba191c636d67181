import { createHmac, hash as digest, randomBytes } from 'node:crypto';

import { equalBytes, type Secret, utf8 } from '@azaion/kernel';
import { hash, verify } from '@node-rs/argon2';

import { AdminError } from '../errors.js';
import { type ServiceSecrets } from '../keys/service-secrets.js';

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

/** Stores and checks passwords. Every check costs one Argon2id computation, whatever is stored, so that time tells nothing. */
export class PasswordHasher {
  private running = 0;
  private computed = 0;
  private readonly waiting: (() => void)[] = [];
  private readonly dummy: Promise<string>;

  constructor(
    private readonly secrets: Pick<ServiceSecrets, 'get'>,
    private readonly cost: PasswordCost,
  ) {
    this.dummy = this.slowHash(randomBytes(16));
  }

  /** How many Argon2id computations were made so far: what a login costs, and all that its time can tell. */
  get computations(): number {
    return this.computed;
  }

  /** The stored form of a person's password. */
  hash(password: Secret<string>): Promise<string> {
    return this.inTurn(() => this.slowHash(password.reveal()));
  }

  /** The stored form of a device's password, which is 128 random bits and needs no slow hash. */
  async hashDevicePassword(password: Secret<string>): Promise<string> {
    return DEVICE_PREFIX + (await this.deviceMac(password)).toString('hex');
  }

  /** Checks a password. @param stored - `undefined` when there is nothing to check against; the answer is no, in the same time. */
  async check(stored: string | undefined, password: Secret<string>): Promise<PasswordCheck> {
    const slow = stored?.startsWith('$argon2') === true ? stored : await this.dummy;
    const matches = await this.inTurn(() => verify(slow, password.reveal()));
    if (stored === undefined) return { correct: false, outdated: false };
    if (slow === stored) return { correct: matches, outdated: this.isWeaker(stored) };
    if (stored.startsWith(DEVICE_PREFIX)) {
      const expected = Buffer.from(stored.slice(DEVICE_PREFIX.length), 'hex');
      return { correct: equalBytes(await this.deviceMac(password), expected), outdated: false };
    }
    // An older installation's unsalted SHA-384.
    const older = digest('sha384', password.reveal(), 'base64');
    return { correct: equalBytes(utf8(older), utf8(stored)), outdated: true };
  }

  private slowHash(password: string | Buffer): Promise<string> {
    const { memoryKib: memoryCost, passes: timeCost } = this.cost;
    return hash(password, { ...ARGON2ID, memoryCost, timeCost });
  }

  private isWeaker(stored: string): boolean {
    const { memoryKib, passes } = COST.exec(stored)?.groups ?? {};
    return !(Number(memoryKib) >= this.cost.memoryKib && Number(passes) >= this.cost.passes);
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
    this.computed += 1;
    try {
      return await work();
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.running -= 1;
    }
  }
}

/** The answer to whoever would have to wait behind too many others. */
export function tooBusy(): AdminError {
  return new AdminError('hashing.busy', 'Too many logins at once: try again in a few seconds.', {
    details: { retryAfterSeconds: 5 },
  });
}
