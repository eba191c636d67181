import type { Caller } from '@azaion/identity';
import { ManualClock } from '@azaion/kernel';
import { ResourceError, type ResourceErrorCode } from '@azaion/split-resource';

import { CallerSessions } from './caller-sessions.js';

const NOW_SECONDS = 1_800_000_000;

function caller(sessionId: string, userId = 'user', expiresAt = NOW_SECONDS + 900): Caller {
  return {
    userId,
    email: 'a@azaion.com',
    role: 'Operator',
    sessionId,
    tokenId: 't',
    expiresAt,
    deviceSerial: undefined,
  };
}

describe('CallerSessions', () => {
  it('never keeps more than its limit, and forgets what was used longest ago', async () => {
    const sessions = new CallerSessions(new ManualClock(NOW_SECONDS * 1000), 3);
    const first = await sessions.recipientOf(caller('1'));
    for (const id of ['2', '3']) await sessions.recipientOf(caller(id));
    expect(await sessions.recipientOf(caller('1'))).toBe(first);
    for (const id of ['4', '5']) await sessions.recipientOf(caller(id));
    expect(sessions.size).toBe(3);
    expect(await sessions.recipientOf(caller('1'))).toBe(first);
  });

  it('forgets sessions with their last token, and not before', async () => {
    const clock = new ManualClock(NOW_SECONDS * 1000);
    const sessions = new CallerSessions(clock);
    await sessions.recipientOf(caller('1'));
    await sessions.recipientOf(caller('1', 'user', NOW_SECONDS + 1800)); // a refreshed token of the same login
    clock.advance(1000_000);
    expect(sessions.size).toBe(1);
    clock.advance(1000_000);
    expect(sessions.size).toBe(0);
  });

  it('refuses what has been logged out until its token would have expired', async () => {
    const clock = new ManualClock(NOW_SECONDS * 1000);
    const sessions = new CallerSessions(clock);
    await sessions.recipientOf(caller('1'));
    sessions.end(caller('1'));
    expect(() => sessions.assertOpen(caller('1'))).toThrow('has ended');
    await expect(sessions.recipientOf(caller('1'))).rejects.toMatchObject({ code: 'token.invalid' });
    expect(() => sessions.assertOpen(caller('2'))).not.toThrow();
  });

  describe('learns from a refusal of the Admin API', () => {
    const ended = async (code: ResourceErrorCode, cause: unknown, deviceIsGood: boolean): Promise<boolean> => {
      const sessions = new CallerSessions(new ManualClock(NOW_SECONDS * 1000));
      for (const id of ['1', '2']) await sessions.recipientOf(caller(id));
      sessions.learn(caller('1'), new ResourceError(code, 'refused', { cause }), deviceIsGood);
      expect(() => sessions.assertOpen(caller('2'))).not.toThrow();
      const end = await sessions.recipientOf(caller('1')).then(
        () => false,
        () => true,
      );
      expect(sessions.size).toBe(end ? 1 : 2);
      return end;
    };

    it.each([true, false])(
      'that the account was disabled, whether the device’s proof was good (%s) or not',
      async (good) => expect(await ended('api.forbidden', { status: 403, code: 'user.disabled' }, good)).toBe(true),
    );

    it('that the session has ended, where the device’s proof beside it was good', async () => {
      expect(await ended('api.unauthorized', { status: 401, code: 'token.invalid' }, true)).toBe(true);
      expect(await ended('api.unauthorized', { status: 401, code: 'token.invalid' }, false)).toBe(false);
    });

    it.each([
      ['api.forbidden', { status: 403, code: 'role.forbidden' }],
      ['resource.forbidden', { status: 403, code: 'resource.forbidden' }],
      ['resource.not-found', { status: 404, code: 'resource.not-found' }],
      ['api.unreachable', new Error('down')],
      ['api.unexpected', undefined],
      ['api.forbidden', 'user.disabled'],
      ['api.forbidden', null],
    ] as const)('nothing about the session from %s with the cause %j', async (code, cause) => {
      expect(await ended(code, cause, true)).toBe(false);
    });
  });
});
