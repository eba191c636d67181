import { randomBytes } from 'node:crypto';

import { Secret } from '@azaion/kernel';

import { PasswordHasher } from './password-hasher.js';

const FLOOR = { memoryKib: 19_456, passes: 2 };
const secrets = { get: () => Promise.resolve(randomBytes(32)) };

describe('PasswordHasher', () => {
  const password = new Secret('correct horse battery staple');

  it('stores with the configured cost', async () => {
    expect(await new PasswordHasher(secrets, FLOOR).hash(password)).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    expect(await new PasswordHasher(secrets, { memoryKib: 20_480, passes: 3 }).hash(password)).toMatch(
      /^\$argon2id\$v=19\$m=20480,t=3,p=1\$/,
    );
  });

  it.each([
    [FLOOR, false],
    [{ memoryKib: 20_480, passes: 2 }, true],
    [{ memoryKib: 19_456, passes: 3 }, true],
  ])('under the cost %j says whether a hash of the floor is outdated: %j', async (cost, outdated) => {
    const stored = await new PasswordHasher(secrets, FLOOR).hash(password);
    expect(await new PasswordHasher(secrets, cost).check(stored, password)).toEqual({ correct: true, outdated });
  });

  it('keeps a hash of a higher cost, and replaces no hash of a wrong password', async () => {
    const stored = await new PasswordHasher(secrets, { memoryKib: 20_480, passes: 3 }).hash(password);
    const hasher = new PasswordHasher(secrets, FLOOR);
    expect(await hasher.check(stored, password)).toEqual({ correct: true, outdated: false });
    expect((await hasher.check(stored, new Secret('another password'))).correct).toBe(false);
  });

  it('lets two hundred wait and sends the next away', async () => {
    const hasher = new PasswordHasher(secrets, FLOOR);
    await hasher.check(undefined, password);
    const checks = Array.from({ length: 203 }, () => hasher.check(undefined, password));
    const results = await Promise.allSettled(checks);
    const refused = results.filter((result) => result.status === 'rejected');
    expect(refused).toHaveLength(1);
    expect(refused[0]?.reason).toMatchObject({ code: 'hashing.busy', details: { retryAfterSeconds: 5 } });
  });
});
