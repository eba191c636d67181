import { CRYPTO_ERRORS } from '@azaion/crypto';
import { IDENTITY_ERRORS, IdentityError } from '@azaion/identity';
import { DomainError, NAME_ERRORS } from '@azaion/kernel';
import { RESOURCE_ERRORS } from '@azaion/split-resource';
import { UNLOCK_ERRORS } from '@azaion/unlock';

import { HttpProblem, problemOf, PROBLEMS, type ProblemSpec } from './problem.js';

const PLACE = { instance: '/x', requestId: 'r' };
const DOMAIN_CODES = { ...NAME_ERRORS, ...CRYPTO_ERRORS, ...RESOURCE_ERRORS, ...IDENTITY_ERRORS, ...UNLOCK_ERRORS };
const TABLE: Readonly<Record<string, ProblemSpec>> = PROBLEMS;

describe('the table of problems', () => {
  it.each(Object.keys(DOMAIN_CODES))('has a row for %s', (code) => {
    expect(TABLE[code]?.status).toBeGreaterThanOrEqual(400);
    expect(TABLE[code]?.title).not.toBe('');
  });

  it('holds the statuses of the contracts', () => {
    const contract = {
      'name.invalid': 422,
      'token.missing': 401,
      'token.invalid': 401,
      'token.expired': 401,
      'role.forbidden': 403,
      'folder.forbidden': 403,
      'resource.not-found': 404,
      'resource.rollback-refused': 409,
      'resource.range-invalid': 416,
      'resource.integrity': 502,
      'resource.no-space': 507,
      'cdn.missing': 502,
      'cdn.unavailable': 502,
      'api.unreachable': 502,
      'login.wrong-credentials': 401,
      'login.rate-limited': 429,
      'device.already-enrolled': 409,
      'device.proof-invalid': 422,
      'upload.pack-gone': 409,
      'upload.refused': 422,
      'unlock.archive-not-found': 404,
      'unlock.not-running': 409,
    };
    for (const [code, status] of Object.entries(contract)) expect([code, TABLE[code]?.status]).toEqual([code, status]);
  });

  it('blames nobody but the caller with 4xx', () => {
    for (const [code, culprit] of Object.entries(DOMAIN_CODES))
      if (culprit === 'upstream') expect([code, TABLE[code]?.status]).toEqual([code, expect.any(Number)]);
    for (const [code, culprit] of Object.entries(DOMAIN_CODES))
      if (culprit === 'upstream') expect(TABLE[code]?.status).toBeGreaterThanOrEqual(500);
  });
});

describe('problemOf', () => {
  it('says when to try again, in whole seconds, at least one', () => {
    for (const [retryAfterSeconds, header] of [
      [0, '1'],
      [0.2, '1'],
      [29.5, '30'],
      [60, '60'],
    ] as const) {
      const error = new IdentityError('login.rate-limited', 'Too many.', { details: { retryAfterSeconds } });
      expect(problemOf(error, PLACE)).toMatchObject({ status: 429, headers: { 'retry-after': header } });
    }
    expect(problemOf(new IdentityError('login.rate-limited', 'Too many.'), PLACE).headers).toEqual({});
  });

  it('does not let details or members replace those of the standard', () => {
    const error = new DomainError('resource.not-found', 'Nothing.', {
      details: { status: 200, code: 'x', instance: '/y' },
    });
    expect(problemOf(error, PLACE).document).toMatchObject({ status: 404, code: 'resource.not-found', instance: '/x' });
    const problem = new HttpProblem('request.invalid', 'Bad.', { members: { requestId: 'z', errors: [] } });
    expect(problemOf(problem, PLACE).document).toMatchObject({ requestId: 'r', errors: [] });
  });

  it('does not let an application change a row of the table', () => {
    const options = { problems: { 'token.invalid': { status: 200, title: 'Fine' } } };
    expect(problemOf(new IdentityError('token.invalid', 'Bad.'), PLACE, options).status).toBe(401);
  });

  it.each([
    new DomainError('area.unknown', 'secret text'),
    new DomainError('toString', 'secret text'),
    new Error('secret text'),
    Object.assign(new Error('secret text'), { statusCode: 500 }),
    Object.assign(new Error('secret text'), { statusCode: 200 }),
    'secret text',
    undefined,
    null,
    { secret: 'text' },
  ])('answers %s with 500 and without its text', (error) => {
    const problem = problemOf(error, PLACE);
    expect(problem).toMatchObject({ status: 500, unexpected: true, document: { code: 'server.error' } });
    expect(JSON.stringify(problem.document)).not.toContain('secret');
  });

  it.each([400, 404, 405, 408, 413, 414, 415, 418, 429, 431])(
    "keeps the framework's status %i but not its text",
    (statusCode) => {
      const problem = problemOf(Object.assign(new Error('secret text'), { statusCode }), PLACE);
      expect(problem).toMatchObject({ status: statusCode, unexpected: false });
      expect(JSON.stringify(problem.document)).not.toContain('secret');
    },
  );
});
