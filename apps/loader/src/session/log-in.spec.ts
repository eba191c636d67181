import { setImmediate } from 'node:timers/promises';

import type { IssuedTokens } from '@azaion/adapters/resource-api';
import { AccessTokenIssuer, type Caller, IdentityError, JwksTokenVerifier, TokenVerifier } from '@azaion/identity';
import { InMemoryJwksSource } from '@azaion/identity/testing';
import { ManualClock, Secret } from '@azaion/kernel';
import { ResourceError } from '@azaion/split-resource';

import { LogIn, type OfflineLogin } from './log-in.js';
import { LoginLimiter } from './login-limiter.js';

const EMAIL = 'azj-0001@azaion.com';
const PASSWORD = new Secret('0123456789abcdef');
const CALLER = { userId: 'azj-0001', email: EMAIL, role: 'CompanionPC', local: true } as Caller;
const UNREACHABLE = new ResourceError('api.unreachable', 'down');

class NoVerifier extends TokenVerifier {
  override keyFor(): Promise<never> {
    return Promise.reject(new IdentityError('token.invalid', 'There is no key.'));
  }

  override verify(): Promise<Caller> {
    return Promise.resolve(CALLER);
  }
}

/** What the Admin API answers, and what the device holds. */
const logIn = (answer: () => Promise<IssuedTokens>, offline: Partial<OfflineLogin>): Promise<unknown> =>
  new LogIn({ login: answer }, new NoVerifier(), new LoginLimiter(new ManualClock(0)), new ManualClock(0), {
    holdsLease: () => Promise.resolve(true),
    patienceMs: () => 60_000,
    logIn: () => Promise.resolve(undefined),
    ...offline,
  }).run(EMAIL, PASSWORD, '127.0.0.1');

describe('LogIn (F1) on a device', () => {
  const down = (): Promise<never> => Promise.reject(UNREACHABLE);

  describe('whose leases are looked up for longer than the Admin API takes to refuse the connection', () => {
    /** Whether somebody listened to the login when the look at the leases began: an unheard rejection ends the process. */
    let heardInTime: boolean | undefined;
    let heard: boolean;
    const refused = (): Promise<IssuedTokens> => {
      const login = Promise.reject<IssuedTokens>(UNREACHABLE);
      const then = login.then.bind(login);
      login.then = (...handlers) => {
        heard = true;
        return then(...handlers);
      };
      return login;
    };
    const holdsLease = async (outcome: () => Promise<boolean>): Promise<boolean> => {
      heardInTime ??= heard;
      await setImmediate(); // the login has been rejected by now
      return outcome();
    };
    beforeEach(() => {
      heard = false;
      heardInTime = undefined;
    });
    afterEach(() => expect(heardInTime).toBe(true));

    it.each([
      ['none holds', (): Promise<boolean> => Promise.resolve(false)],
      ['they cannot be judged', (): Promise<boolean> => Promise.reject(UNREACHABLE)],
    ])('answers that the Admin API is out of reach, and goes on, when %s', async (_, outcome) => {
      await expect(logIn(refused, { holdsLease: () => holdsLease(outcome) })).rejects.toBe(UNREACHABLE);
    });

    it('lets the device in when one holds', async () => {
      const bearer = { caller: CALLER, token: 'local', expiresInSeconds: 60 };
      const offline = {
        holdsLease: () => holdsLease(() => Promise.resolve(true)),
        logIn: () => Promise.resolve(bearer),
      };
      await expect(logIn(refused, offline)).resolves.toMatchObject({ expiresInSeconds: 60, role: 'CompanionPC' });
    });
  });

  it('lets nobody else in while the Admin API is out of reach', async () => {
    await expect(logIn(down, {})).rejects.toMatchObject({ code: 'api.unreachable', status: 503 });
  });

  it('does not wait for an Admin API that lets wait, where a lease holds', async () => {
    const silent = (): Promise<never> => new Promise(() => undefined);
    await expect(logIn(silent, { patienceMs: () => 0 })).rejects.toMatchObject({ code: 'api.unreachable' });
  });

  it('passes a refusal on, whatever it holds', async () => {
    const wrong = new IdentityError('login.wrong-credentials', 'wrong');
    await expect(logIn(() => Promise.reject(wrong), {})).rejects.toBe(wrong);
  });
});

describe('LogIn (F1) on a machine that is no device', () => {
  const PROFILE = { issuer: 'issuer', audience: 'audience' };
  const HOUR_MS = 3600_000;
  const API_MS = 1_800_000_000_000;

  /** A login at an Admin API that tells the time, on a machine whose clock is off. @param audience - That the Loader expects. */
  const logInWith = async (offMs: number, audience = PROFILE.audience): Promise<unknown> => {
    const source = new InMemoryJwksSource();
    const key = await source.publish();
    const issuer = new AccessTokenIssuer(() => Promise.resolve(key), new ManualClock(API_MS), {
      ...PROFILE,
      lifetimeSeconds: 900,
    });
    const claims = { userId: 'u', email: EMAIL, role: 'Operator', sessionId: 's' } as const;
    const auth = {
      login: async (): Promise<IssuedTokens> => ({
        accessToken: new Secret(await issuer.issue(claims)),
        expiresInSeconds: 900,
        refreshToken: undefined,
      }),
      serverTimeMs: () => API_MS,
    };
    const clock = new ManualClock(API_MS + offMs);
    const verifier = new JwksTokenVerifier(source, clock, { ...PROFILE, audience });
    return new LogIn(auth, verifier, new LoginLimiter(clock), clock).run(EMAIL, PASSWORD, '127.0.0.1');
  };

  it.each([
    [HOUR_MS, '3600 s ahead of'],
    [-HOUR_MS, '3600 s behind'],
  ])('says that the clock is wrong, and by how much, when it is off by %i ms', async (offMs, how) => {
    await expect(logInWith(offMs)).rejects.toMatchObject({
      code: 'clock.wrong',
      message: expect.stringContaining(how) as string,
    });
  });

  it('blames the Admin API for a token that does not verify although the clock is right', async () => {
    await expect(logInWith(0, 'another')).rejects.toMatchObject({ code: 'api.unexpected' });
    await expect(logInWith(3000, 'another')).rejects.toMatchObject({ code: 'api.unexpected' });
  });

  it('takes a token that verifies, whatever the clocks say', async () => {
    await expect(logInWith(60_000)).resolves.toMatchObject({ role: 'Operator' });
  });
});
