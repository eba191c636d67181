import { randomUUID } from 'node:crypto';

import type { IssuedTokens } from '@azaion/adapters/resource-api';
import { type EcdhP256, ephemeralRecipient, type PublicJwk, type SigningKey } from '@azaion/crypto';
import {
  AccessTokenIssuer,
  type Caller,
  type EnrolmentChallenge,
  type EnrolmentProof,
  generateSoftwareKeys,
  IdentityError,
  JwksTokenVerifier,
  SoftwareDeviceIdentity,
  verifyDeviceAssertion,
  verifyEnrolment,
} from '@azaion/identity';
import { InMemoryJwksSource } from '@azaion/identity/testing';
import { ManualClock, Secret } from '@azaion/kernel';
import { ResourceError } from '@azaion/split-resource';

import { type DeviceOffline, DeviceSession, type DeviceSessionDependencies } from './device-session.js';

const AUDIENCE = 'azaion';
const LIFETIME_SECONDS = 900;
const ACCOUNT = {
  serial: 'azj-0001',
  email: 'azj-0001@azaion.com',
  password: new Secret('0123456789abcdef'),
  audience: AUDIENCE,
};

/** The Admin API's side of enrolment and device login, with real proofs and signatures. */
class DeviceAuthority {
  enrolled: PublicJwk | undefined;
  logins = 0;
  enrolments = 0;
  failure: Error | undefined;
  /** The serial that tokens are issued for. */
  tokenSerial = ACCOUNT.serial;
  private readonly used = new Set<string>();
  private challenge: { readonly answer: EnrolmentChallenge; readonly ecdh: EcdhP256 } | undefined;

  constructor(
    private readonly clock: ManualClock,
    private readonly key: SigningKey,
  ) {}

  async enrolmentChallenge(serial: string, email: string, password: Secret<string>): Promise<EnrolmentChallenge> {
    if (serial !== ACCOUNT.serial || email !== ACCOUNT.email || password.reveal() !== ACCOUNT.password.reveal())
      throw wrongCredentials();
    if (this.enrolled !== undefined) throw new IdentityError('device.already-enrolled', 'Reset it first.');
    const { point, ecdh } = await ephemeralRecipient();
    const answer = { nonce: crypto.getRandomValues(new Uint8Array(32)), agreementPoint: point };
    this.challenge = { answer, ecdh };
    return answer;
  }

  activateEnrolment(): Promise<void> {
    return Promise.reject(new Error('no evidence was asked for'));
  }

  async enrol(serial: string, proof: EnrolmentProof): Promise<undefined> {
    if (this.challenge === undefined) throw wrongCredentials();
    await verifyEnrolment(serial, proof, this.challenge.ecdh);
    this.enrolments += 1;
    this.enrolled = proof.signingKey;
  }

  async loginDevice(assertion: string): Promise<IssuedTokens> {
    if (this.failure !== undefined) throw this.failure;
    if (this.enrolled === undefined) throw wrongCredentials();
    const { jti } = verifyDeviceAssertion(assertion, this.enrolled, AUDIENCE, this.clock);
    if (this.used.has(jti)) throw wrongCredentials();
    this.used.add(jti);
    this.logins += 1;
    const issuer = new AccessTokenIssuer(() => Promise.resolve(this.key), this.clock, {
      issuer: 'azaion-admin-api',
      audience: AUDIENCE,
      lifetimeSeconds: LIFETIME_SECONDS,
    });
    const token = await issuer.issue({
      userId: randomUUID(),
      email: ACCOUNT.email,
      role: 'CompanionPC',
      sessionId: randomUUID(),
      deviceSerial: this.tokenSerial,
    });
    return { accessToken: new Secret(token), expiresInSeconds: LIFETIME_SECONDS, refreshToken: undefined };
  }
}

function wrongCredentials(): IdentityError {
  return new IdentityError('login.wrong-credentials', 'The device could not be logged in.');
}

let clock: ManualClock;
let api: DeviceAuthority;
let session: DeviceSession;
let messages: string[];
let dependencies: DeviceSessionDependencies;

beforeEach(async () => {
  clock = new ManualClock(Date.now());
  const jwks = new InMemoryJwksSource();
  api = new DeviceAuthority(clock, await jwks.publish());
  messages = [];
  const collect = (message: string): void => void messages.push(message);
  dependencies = {
    auth: api,
    identity: new SoftwareDeviceIdentity('credentials', await generateSoftwareKeys()),
    verifier: new JwksTokenVerifier(jwks, clock, { issuer: 'azaion-admin-api', audience: AUDIENCE }),
    clock,
    log: { log: collect, warn: collect },
  };
  session = new DeviceSession(ACCOUNT, dependencies);
});

describe('DeviceSession (F1)', () => {
  it('enrols on its first login and never again', async () => {
    const { caller } = await session.bearer();
    expect(caller.deviceSerial).toBe(ACCOUNT.serial);
    clock.advance(LIFETIME_SECONDS * 1000);
    await session.bearer();
    expect(api).toMatchObject({ enrolments: 1, logins: 2 });
  });

  it('logs in once for everybody who waits', async () => {
    const tokens = await Promise.all(Array.from({ length: 20 }, () => session.current()));
    expect(new Set(tokens).size).toBe(1);
    expect(api.logins).toBe(1);
  });

  it('replaces its token before it dies', async () => {
    const first = await session.current();
    clock.advance((LIFETIME_SECONDS - 121) * 1000);
    expect(await session.current()).toBe(first);
    clock.advance(2000);
    expect(await session.current()).not.toBe(first);
  });

  it('logs in again once for all whose token was refused', async () => {
    const refused = await session.current();
    const renewed = await Promise.all(Array.from({ length: 10 }, () => session.renew(refused)));
    expect(new Set(renewed).size).toBe(1);
    expect(renewed[0]).not.toBe(refused);
    expect(api.logins).toBe(2);
  });

  it('has no other token when it cannot log in, and says why', async () => {
    const refused = await session.current();
    api.failure = new IdentityError('device.revoked', 'This device has been revoked.');
    expect(await session.renew(refused)).toBeUndefined();
    expect(session.authenticated).toBe(false);
    expect(messages.at(-1)).toContain('device.revoked');
  });

  it('does not enrol because the Admin API is out of reach', async () => {
    api.failure = new ResourceError('api.unreachable', 'down');
    await expect(session.bearer()).rejects.toMatchObject({ code: 'api.unreachable' });
    expect(api.enrolments).toBe(0);
    api.failure = undefined;
    await session.bearer();
    expect(session.authenticated).toBe(true);
  });

  it('repeats no message while nothing changes', async () => {
    api.failure = new ResourceError('api.unreachable', 'down');
    for (let turn = 0; turn < 5; turn += 1) await expect(session.bearer()).rejects.toThrow();
    expect(messages).toHaveLength(1);
  });

  it('asks once for many calls of a device that is refused', async () => {
    const login = api.loginDevice.bind(api);
    let asked = 0;
    api.loginDevice = (assertion) => {
      asked++;
      return login(assertion);
    };
    api.failure = new IdentityError('device.revoked', 'This device has been revoked.');
    for (let call = 0; call < 20; call++)
      await expect(session.bearer()).rejects.toMatchObject({ code: 'device.revoked' });
    expect(asked).toBe(1);
  });

  it('with keys that were lost says that it must be reset', async () => {
    api.enrolled = (await generateSoftwareKeys()).signing;
    await expect(session.bearer()).rejects.toMatchObject({ code: 'device.already-enrolled' });
    expect(api.enrolments).toBe(0);
  });

  it("refuses another device's token", async () => {
    api.tokenSerial = 'azj-0002';
    await expect(session.bearer()).rejects.toMatchObject({ code: 'token.invalid' });
  });

  it('shows no secret', async () => {
    await session.bearer();
    expect(messages.join()).not.toContain(ACCOUNT.password.reveal());
    expect(messages.join()).not.toContain(await session.current());
  });
});

describe('DeviceSession without the Admin API', () => {
  const LOCAL = { caller: { local: true } as unknown as Caller, token: 'local' };
  const UNREACHABLE = new ResourceError('api.unreachable', 'down');
  let holds: boolean;
  let observed: number[];
  let forgotten: number;
  let remembered: number;
  let patienceMs: number;

  function offlineSession(): DeviceSession {
    const offline: DeviceOffline = {
      observe: (signedSeconds) => observed.push(signedSeconds),
      remember: () => {
        remembered += 1;
        return Promise.resolve();
      },
      bearer: () => Promise.resolve(holds ? LOCAL : undefined),
      patienceMs: () => patienceMs,
      late: () => undefined,
      forget: () => {
        forgotten += 1;
        return Promise.resolve();
      },
    };
    return new DeviceSession(ACCOUNT, { ...dependencies, offline });
  }

  beforeEach(() => {
    [holds, observed, forgotten, remembered, patienceMs] = [true, [], 0, 0, 60_000];
  });

  it('is a caller that may use its leases, and only while one holds', async () => {
    const offline = offlineSession();
    api.failure = UNREACHABLE;
    expect(await offline.bearer()).toBe(LOCAL);
    await expect(offline.current()).rejects.toBe(UNREACHABLE); // never sent to the Admin API
    holds = false;
    await expect(offline.bearer()).rejects.toBe(UNREACHABLE);
  });

  it('does not wait for a login that does not come', async () => {
    const offline = offlineSession();
    patienceMs = 0;
    api.loginDevice = () => new Promise(() => undefined);
    expect(await offline.bearer()).toBe(LOCAL);
  });

  it('is itself again as soon as it can log in, and remembers what it was accepted with', async () => {
    const offline = offlineSession();
    api.failure = UNREACHABLE;
    await offline.bearer();
    expect(remembered).toBe(0);
    api.failure = undefined;
    expect((await offline.bearer()).caller.deviceSerial).toBe(ACCOUNT.serial);
    expect(remembered).toBe(1);
    expect(observed).toEqual([Math.floor(clock.nowMs() / 1000)]);
  });

  it('forgets everything when it learns that it was revoked, and uses no lease then', async () => {
    const offline = offlineSession();
    api.failure = new IdentityError('device.revoked', 'revoked');
    await expect(offline.bearer()).rejects.toMatchObject({ code: 'device.revoked' });
    expect(forgotten).toBe(1);
  });
});
