import { type Caller } from '@azaion/identity';
import { ManualClock } from '@azaion/kernel';

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
});
