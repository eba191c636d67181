import { ManualClock } from '@azaion/kernel';

import {
  ASSERTION_TOLERANCE_SECONDS,
  MAX_ASSERTION_SECONDS,
  signDeviceAssertion,
  verifyDeviceAssertion,
} from './device-assertion.js';
import { type DeviceIdentity } from './device-identity.js';
import { InMemoryDeviceIdentity } from './testing/in-memory-device-identity.js';

const SERIAL = 'azj-0001';
const AUDIENCE = 'azaion';
const NOW_SECONDS = 1_800_000_000;
const REFUSED = expect.objectContaining({ code: 'login.wrong-credentials' }) as Error;

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
    ['a life that is too long', { exp: NOW_SECONDS + MAX_ASSERTION_SECONDS + 1 }],
    ['an end before its beginning', { exp: NOW_SECONDS }],
    ['an end that has passed', { iat: NOW_SECONDS - 90, exp: NOW_SECONDS - ASSERTION_TOLERANCE_SECONDS }],
    ['a beginning in the future', { iat: NOW_SECONDS + ASSERTION_TOLERANCE_SECONDS + 1 }],
  ])('is refused with %s', async (_, changes) => {
    await expect(verify(await signed({ ...good, ...changes }))).rejects.toThrow(REFUSED);
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
