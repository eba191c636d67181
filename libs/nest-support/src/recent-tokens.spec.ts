import {
  AccessTokenIssuer,
  type Caller,
  JwksTokenVerifier,
  TokenVerifier,
  type AccessTokenClaims,
} from '@azaion/identity';
import { InMemoryJwksSource } from '@azaion/identity/testing';
import { ManualClock } from '@azaion/kernel';
import { Controller, Get, Module } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';

import { AnyRole, createApp, CurrentCaller } from './index.js';
import { RecentTokens } from './recent-tokens.js';

const NOW = 1_800_000_000_000;
const caller: Caller = {
  userId: 'user',
  email: 'person@example.com',
  role: 'Operator',
  sessionId: 'session',
  tokenId: 'token',
  expiresAt: NOW / 1000 + 900,
  deviceSerial: undefined,
};

describe('RecentTokens', () => {
  let clock: ManualClock;
  let tokens: RecentTokens;

  beforeEach(() => {
    clock = new ManualClock(NOW);
    tokens = new RecentTokens({ clock, ageMs: 10_000 });
    tokens.keep('token', caller);
  });

  it('knows a token for as long as it was told, and no other', () => {
    expect(tokens.find('token')).toBe(caller);
    expect(tokens.find('token ')).toBeUndefined();
    clock.advance(9_999);
    expect(tokens.find('token')).toBe(caller);
    clock.advance(1);
    expect(tokens.find('token')).toBeUndefined();
  });

  it('does not know a token any more from the second on in which it expires', () => {
    tokens.keep('short', { ...caller, expiresAt: NOW / 1000 + 2 });
    clock.advance(1_999);
    expect(tokens.find('short')).toBeDefined();
    clock.advance(1);
    expect(tokens.find('short')).toBeUndefined();
  });

  it('goes by the wall clock for the expiry and by the other one for the age', () => {
    clock.setWall(NOW - 3_600_000);
    clock.advance(10_000);
    expect(tokens.find('token')).toBeUndefined();
  });

  it('forgets the oldest of more than ten thousand', () => {
    for (let index = 1; index <= 10_000; index += 1) tokens.keep(`token ${index}`, caller);
    expect(tokens.find('token')).toBeUndefined();
    expect(tokens.find('token 1')).toBe(caller);
    expect(tokens.find('token 10000')).toBe(caller);
  });
});

let verified = 0;
const clock = new ManualClock(NOW);
const source = new InMemoryJwksSource();
const PROFILE = { issuer: 'issuer', audience: 'audience' };

class CountingVerifier extends JwksTokenVerifier {
  override verify(token: string): Promise<Caller> {
    verified += 1;
    return super.verify(token);
  }
}

@Controller('me')
class Me {
  @Get()
  @AnyRole()
  me(@CurrentCaller() { email }: Caller): object {
    return { email };
  }
}

@Module({
  controllers: [Me],
  providers: [{ provide: TokenVerifier, useFactory: () => new CountingVerifier(source, clock, PROFILE) }],
})
class MeModule {}

describe('an application that remembers tokens', () => {
  let app: NestFastifyApplication;
  let url: string;
  let issue: (claims?: Partial<AccessTokenClaims>) => Promise<string>;

  beforeAll(async () => {
    const key = await source.publish();
    const issuer = new AccessTokenIssuer(() => Promise.resolve(key), clock, { ...PROFILE, lifetimeSeconds: 900 });
    issue = (claims) =>
      issuer.issue({ userId: 'user', email: 'person@example.com', role: 'Operator', sessionId: 'session', ...claims });
    app = await createApp(MeModule, {
      api: { title: 'Me', description: 'Me', version: '1' },
      validationStatus: 400,
      tokenMemory: { clock, ageMs: 10_000 },
      log: { level: 'silent' },
    });
    await app.listen(0, '127.0.0.1');
    url = await app.getUrl();
  });

  afterAll(() => app.close());

  const ask = async (token: string): Promise<{ status: number; email: unknown }> => {
    const answer = await fetch(`${url}/me`, { headers: { authorization: `Bearer ${token}` } });
    return { status: answer.status, email: ((await answer.json()) as { email?: unknown }).email };
  };

  it('verifies a token once in that time, and each token for itself', async () => {
    const [mine, yours] = [await issue(), await issue({ userId: 'other', email: 'other@example.com' })];
    verified = 0;
    for (let time = 0; time < 3; time += 1) {
      expect(await ask(mine)).toEqual({ status: 200, email: 'person@example.com' });
      expect(await ask(yours)).toEqual({ status: 200, email: 'other@example.com' });
    }
    expect(verified).toBe(2);
    clock.advance(10_000);
    expect((await ask(mine)).status).toBe(200);
    expect(verified).toBe(3);
  });

  it('refuses an expired token that it remembers, and a changed one whose twin it remembers', async () => {
    const token = await issue();
    clock.advance(895_000);
    expect((await ask(token)).status).toBe(200);
    const signatureAt = token.lastIndexOf('.') + 1;
    const changed =
      token.slice(0, signatureAt) + (token[signatureAt] === 'A' ? 'B' : 'A') + token.slice(signatureAt + 1);
    expect((await ask(changed)).status).toBe(401);
    clock.advance(10_000);
    expect((await ask(token)).status).toBe(401);
  });

  it('remembers no token that was refused', async () => {
    const stranger = await new InMemoryJwksSource().publish();
    const forger = new AccessTokenIssuer(() => Promise.resolve(stranger), clock, { ...PROFILE, lifetimeSeconds: 900 });
    const forged = await forger.issue({
      userId: 'user',
      email: 'person@example.com',
      role: 'ApiAdmin',
      sessionId: 's',
    });
    for (let time = 0; time < 2; time += 1) expect((await ask(forged)).status).toBe(401);
  });
});
