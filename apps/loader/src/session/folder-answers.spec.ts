import type { Caller } from '@azaion/identity';
import { ManualClock } from '@azaion/kernel';

import { FolderAnswers } from './folder-answers.js';

const NOW_SECONDS = 1_800_000_000;
const MAX_ANSWERS = 8192;
const LIFE_SECONDS = 900;

const caller = (tokenId: string, userId = 'user'): Caller => ({
  userId,
  email: 'a@azaion.com',
  role: 'Operator',
  sessionId: 's',
  tokenId,
  expiresAt: NOW_SECONDS + LIFE_SECONDS,
  deviceSerial: undefined,
});

let clock: ManualClock;
let answers: FolderAnswers;

beforeEach(() => {
  clock = new ManualClock(NOW_SECONDS * 1000);
  answers = new FolderAnswers(clock);
});

describe('FolderAnswers', () => {
  it('lets nobody in whom the Admin API has not let in', () => {
    expect(answers.allows(caller('t'), 'models', 'open')).toBe(false);
  });

  it('holds for the very token and folder, and for nothing beside them', () => {
    answers.allowed(caller('t'), 'models', 'open');
    expect(answers.allows(caller('t'), 'models', 'open')).toBe(true);
    expect(answers.allows(caller('t'), 'engines', 'open')).toBe(false);
    expect(answers.allows(caller('newer'), 'models', 'open')).toBe(false);
    expect(answers.allows(caller('t', 'somebody else'), 'models', 'open')).toBe(false);
  });

  it('does not take the parts of one key for those of another', () => {
    answers.allowed(caller('t","models', 'user'), 'x', 'open');
    expect(answers.allows(caller('t', 'user'), 'models","x', 'open')).toBe(false);
  });

  it('ends with the token, to the second', () => {
    answers.allowed(caller('t'), 'models', 'open');
    clock.advance(LIFE_SECONDS * 1000 - 1);
    expect(answers.allows(caller('t'), 'models', 'open')).toBe(true);
    clock.advance(1);
    expect(answers.allows(caller('t'), 'models', 'open')).toBe(false);
  });

  it('is taken back by a refusal, of that folder only, and given again by a newer answer', () => {
    for (const folder of ['models', 'engines']) answers.allowed(caller('t'), folder, 'open');
    answers.refused(caller('t'), 'models');
    expect(answers.allows(caller('t'), 'models', 'open')).toBe(false);
    expect(answers.allows(caller('t'), 'engines', 'open')).toBe(true);
    answers.allowed(caller('t'), 'models', 'open');
    expect(answers.allows(caller('t'), 'models', 'open')).toBe(true);
  });

  it('keeps a bounded number, and forgets what was answered longest ago', () => {
    for (const first of ['0', '1']) answers.allowed(caller(first), 'models', 'open');
    answers.allowed(caller('0'), 'models', 'open'); // once more: now the second is the oldest
    for (let token = 2; token <= MAX_ANSWERS; token++) answers.allowed(caller(String(token)), 'models', 'open');
    expect(answers.allows(caller('1'), 'models', 'open')).toBe(false);
    expect(answers.allows(caller('0'), 'models', 'open')).toBe(true);
    expect(answers.allows(caller(String(MAX_ANSWERS)), 'models', 'open')).toBe(true);
  });

  it('of a caller who was let see the folder says nothing about opening; who may open may see', () => {
    answers.allowed(caller('t'), 'models', 'see');
    expect(answers.allows(caller('t'), 'models', 'see')).toBe(true);
    expect(answers.allows(caller('t'), 'models', 'open')).toBe(false);
    answers.allowed(caller('t'), 'engines', 'open');
    expect(answers.allows(caller('t'), 'engines', 'see')).toBe(true);
    answers.refused(caller('t'), 'engines');
    expect(answers.allows(caller('t'), 'engines', 'see')).toBe(false);
  });
});
