import { ManualClock } from '@azaion/kernel';

import {
  ASSERTION_TOLERANCE_SECONDS,
  MAX_ASSERTION_SECONDS,
  signDeviceAssertion,
  verifyDeviceAssertion,
} from './device-assertion.js';
import type { DeviceIdentity } from './device-identity.js';
import { InMemoryDeviceIdentity } from './testing/in-memory-device-identity.js';
import { SENTENCE } from './testing/sentence.js';

const SERIAL = 'azj-0001';
const AUDIENCE = 'azaion';
const NOW_SECONDS = 1_800_000_000;
const REFUSED = expect.objectContaining({ code: 'login.wrong-credentials', message: SENTENCE }) as Error;

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

describe('a device assertion', () => {
  let clock: ManualClock;
  let device: InMemoryDeviceIdentity;

  beforeEach(async () => {
    clock = new ManualClock(NOW_SECONDS * 1000);
    device = await InMemoryDeviceIdentity.create();
  });

  async function signed(claims: object, header: object = { alg: 'ES256', typ: 'JWT' }): Promise<string> {
    const input = `${part(header)}.${part(claims)}`;
    return `${input}.${Buffer.from(await device.sign(Buffer.from(input))).toString('base64url')}`;
  }

  async function verify(assertion: string, by: DeviceIdentity = device): Promise<unknown> {
    const key = await by.signingKey();
    return verifyDeviceAssertion(assertion, key, AUDIENCE, clock);
  }

  const good = {
    iss: SERIAL,
    sub: SERIAL,
    aud: AUDIENCE,
    jti: 'once',
    iat: NOW_SECONDS,
    exp: NOW_SECONDS + MAX_ASSERTION_SECONDS,
  };

  it('names the device, the id to accept once and how long to remember it', async () => {
    expect(await verify(await signed(good))).toEqual({
      serial: SERIAL,
      jti: 'once',
      rememberUntilSeconds: good.exp + ASSERTION_TOLERANCE_SECONDS,
    });
  });

  it('is new at every signing', async () => {
    const sign = (): Promise<string> => signDeviceAssertion(device, SERIAL, AUDIENCE, clock);
    expect(await verify(await sign())).not.toEqual(await verify(await sign()));
  });

  it('is refused with the key of another device', async () => {
    await expect(verify(await signed(good), await InMemoryDeviceIdentity.create())).rejects.toThrow(REFUSED);
  });

  it.each([
    ['another audience', { aud: 'other' }],
    ['a list of audiences', { aud: [AUDIENCE] }],
    ['a subject that is not the issuer', { sub: 'azj-0002' }],
    ['no issuer', { iss: undefined }],
    ['an issuer that is no serial', { iss: '../x', sub: '../x' }],
    ['no id', { jti: undefined }],
    ['an empty id', { jti: '' }],
    ['an id with U+0000', { jti: 'a\0' }],
    ['a huge id', { jti: 'x'.repeat(129) }],
    ['no end', { exp: undefined }],
    ['no beginning', { iat: undefined }],
    ['a text as a time', { exp: String(NOW_SECONDS + 60) }],
    ['a beginning between two seconds', { iat: NOW_SECONDS + 0.5 }],
    ['a life that is too long', { exp: NOW_SECONDS + MAX_ASSERTION_SECONDS + 1 }],
    ['an end before its beginning', { exp: NOW_SECONDS }],
    ['an end that has passed', { iat: NOW_SECONDS - 90, exp: NOW_SECONDS - ASSERTION_TOLERANCE_SECONDS }],
    ['a beginning in the future', { iat: NOW_SECONDS + ASSERTION_TOLERANCE_SECONDS + 1 }],
  ])('is refused with %s', async (_, changes) => {
    await expect(verify(await signed({ ...good, ...changes }))).rejects.toThrow(REFUSED);
  });

  it('is accepted at the ends of what its times may be', async () => {
    for (const [iat, exp] of [
      [NOW_SECONDS + ASSERTION_TOLERANCE_SECONDS, NOW_SECONDS + ASSERTION_TOLERANCE_SECONDS + MAX_ASSERTION_SECONDS],
      [NOW_SECONDS - MAX_ASSERTION_SECONDS, NOW_SECONDS - ASSERTION_TOLERANCE_SECONDS + 1],
    ])
      await expect(verify(await signed({ ...good, iat, exp }))).resolves.toMatchObject({ jti: 'once' });
  });

  it.each([null, [], 'text', 7, true])('is refused with the claims or the header %j', async (value) => {
    await expect(verify(await signed(value as object))).rejects.toThrow(REFUSED);
    await expect(verify(await signed(good, value as object))).rejects.toThrow(REFUSED);
  });

  it('is taken up to 4096 characters', async () => {
    const note = (chars: number): Promise<string> => signed({ ...good, note: 'x'.repeat(chars) });
    let most = Math.floor(((4096 - (await note(0)).length) * 3) / 4);
    while ((await note(most + 1)).length <= 4096) most += 1;
    await expect(verify(await note(most))).resolves.toMatchObject({ jti: 'once' });
    await expect(verify(await note(most + 1))).rejects.toThrow(REFUSED);
  });

  it('is refused with a signature that is none, whatever it is written in', async () => {
    const [header, claims, signature] = (await signed(good)).split('.') as [string, string, string];
    for (const other of ['', '!', `${signature}=`, `${signature}A`, signature.slice(2), 'A'.repeat(200)])
      await expect(verify(`${header}.${claims}.${other}`)).rejects.toThrow(REFUSED);
  });

  it.each([
    [{ alg: 'none', typ: 'JWT' }],
    [{ alg: 'HS256', typ: 'JWT' }],
    [{ alg: 'ES256', typ: 'at+jwt' }],
    [{ alg: 'ES256' }],
    [{ alg: 'ES256', typ: 'JWT', kid: 'x' }],
    [{ alg: 'ES256', typ: 'JWT', jwk: {} }],
  ])('is refused with the header %j', async (header) => {
    await expect(verify(await signed(good, header))).rejects.toThrow(REFUSED);
  });

  it('is refused when any character is changed, a part is missing, or it is no assertion', async () => {
    const assertion = await signed(good);
    for (let at = 0; at < assertion.length; at += 5) {
      const changed = assertion[at] === 'A' ? 'Q' : 'A';
      await expect(verify(assertion.slice(0, at) + changed + assertion.slice(at + 1))).rejects.toThrow(REFUSED);
    }
    for (const text of [
      '',
      '..',
      'a.b.c',
      assertion.split('.').slice(0, 2).join('.'),
      `${assertion}.x`,
      'x'.repeat(5000),
    ])
      await expect(verify(text)).rejects.toThrow(REFUSED);
  });
});
