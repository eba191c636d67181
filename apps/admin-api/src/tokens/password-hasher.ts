import { createHmac, hash as digest, randomBytes } from 'node:crypto';

import { equalBytes, type Secret, utf8 } from '@azaion/kernel';
import { hash, verify } from '@node-rs/argon2';

import { AdminError } from '../errors.js';
import { type ServiceSecrets } from '../keys/service-secrets.js';

/** The OWASP floor for Argon2id. */
const ARGON2ID = { algorithm: 2, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
const HASHES_AT_ONCE = 2;
const MOST_WAITING = 200;
const DEVICE_PREFIX = 'hmac-sha256:';
/** Longest password looked at. */
export const MAX_PASSWORD_CHARS = 256;

/** What a check of a password came to. */
export interface PasswordCheck {
  readonly correct: boolean;
  /** Stored in an older form: replace it with a fresh {@link PasswordHasher.hash}. */
  readonly outdated: boolean;
}

/** Stores and checks passwords. Every check costs one Argon2id computation, whatever is stored, so that time tells nothing. */
export class PasswordHasher {
  private running = 0;
  private readonly waiting: (() => void)[] = [];
  private readonly dummy: Promise<string>;

  constructor(private readonly secrets: ServiceSecrets) {
    this.dummy = hash(randomBytes(16), ARGON2ID);
  }

  /** The stored form of a person's password. */
  hash(password: Secret<string>): Promise<string> {
    return this.inTurn(() => hash(password.reveal(), ARGON2ID));
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
    if (slow === stored) return { correct: matches, outdated: false };
    if (stored.startsWith(DEVICE_PREFIX)) {
      const expected = Buffer.from(stored.slice(DEVICE_PREFIX.length), 'hex');
      return { correct: equalBytes(await this.deviceMac(password), expected), outdated: false };
    }
    // An older installation's unsalted SHA-384.
    const older = digest('sha384', password.reveal(), 'base64');
    return { correct: equalBytes(utf8(older), utf8(stored)), outdated: true };
  }

  private async deviceMac(password: Secret<string>): Promise<Buffer> {
    return createHmac('sha256', await this.secrets.get('device-password'))
      .update(password.reveal())
      .digest();
  }

  /** Two at once: each takes 19 MiB and a core. */
  private async inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.running >= HASHES_AT_ONCE) {
      if (this.waiting.length >= MOST_WAITING)
        throw new AdminError('hashing.busy', 'Too many logins at once: try again in a few seconds.', {
          details: { retryAfterSeconds: 5 },
        });
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
