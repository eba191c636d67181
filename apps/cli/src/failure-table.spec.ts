import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { CryptoError } from '@azaion/crypto';
import { DomainError, NameError } from '@azaion/kernel';
import { RESOURCE_ERRORS, ResourceError, type ResourceErrorCode } from '@azaion/split-resource';

import { EXIT_CODES, exitCodeTable } from './exit-codes.js';
import { failureOf, refusal } from './failure-table.js';

describe('failureOf', () => {
  it.each([
    [new ResourceError('api.unauthorized', 'x'), 3],
    [new ResourceError('resource.not-found', 'x'), 4],
    [new ResourceError('api.unreachable', 'x'), 5],
    [new ResourceError('cdn.unavailable', 'x'), 5],
    [new ResourceError('resource.integrity', 'x'), 6],
    [new CryptoError('statement.invalid', 'x'), 6],
    [new ResourceError('resource.no-space', 'x'), 7],
    [new ResourceError('resource.rollback-refused', 'x'), 8],
    [new ResourceError('resource.unsupported-format', 'x'), 10],
    [new ResourceError('bundle.unsupported-format', 'x'), 10],
    [new CryptoError('chunk.unsupported-codec', 'x'), 10],
    [new NameError('name.invalid', 'x'), 2],
    [Object.assign(new Error('x'), { code: 'ENOSPC' }), 7],
    [Object.assign(new Error('x'), { code: 'EROFS', path: '/home/x' }), 2],
    [new Error('x', { cause: Object.assign(new Error('y'), { code: 'EACCES', path: '/home/x' }) }), 2],
    [Object.assign(new Error('x'), { code: 'EACCES', syscall: 'connect' }), 1],
    [new Error('x', { cause: Object.assign(new Error('y'), { code: 'ENOSPC' }) }), 7],
    [new DOMException('x', 'AbortError'), 130],
    [new DomainError('someone.elses', 'x'), 1],
    [new Error('x'), 1],
    ['x', 1],
    [undefined, 1],
  ])('gives %s the exit status %i', (error, status) => {
    expect(EXIT_CODES[failureOf(error).exit].status).toBe(status);
  });

  it('says which file cannot be used, and why', () => {
    const failed = failureOf(Object.assign(new Error('x'), { code: 'EROFS', path: '/home/x/profile.json' }));
    expect(failed.message).toBe('/home/x/profile.json cannot be used: its file system is read-only.');
    expect(failed.next).toContain('AZAION_PROFILE');
  });

  it('says nothing of the inside of an error that nobody foresaw', () => {
    const { message, meaning, next } = failureOf(new Error('/secret/path'));
    expect([message, meaning, next].join()).not.toContain('secret');
  });

  it.each(Object.keys(RESOURCE_ERRORS) as ResourceErrorCode[])(
    'says what happened, what it means and what to do next: %s',
    (code) => {
      const failed = failureOf(new ResourceError(code, 'What happened.'));
      expect(failed).toMatchObject({ code, message: 'What happened.' });
      expect(failed.meaning).toMatch(/^[A-Z].*\.$/);
      expect(failed.next).toMatch(/^[A-Z].*\.$/);
    },
  );
});

describe('refusal', () => {
  it.each([
    [502, 'statement.invalid', 6],
    [502, 'resource.unsupported-format', 10],
    [409, 'resource.rollback-refused', 8],
    [422, 'keys.wrong-passphrase', 3],
  ])('ends an answer of %i with the code %s as the same fault found here: %i', (status, code, exit) => {
    expect(EXIT_CODES[refusal(status, code, 'x').exit].status).toBe(exit);
  });

  it.each([
    [400, 2],
    [401, 3],
    [404, 4],
    [418, 8],
    [429, 8],
    [500, 1],
    [503, 5],
    [507, 7],
  ])('ends an answer of %i with a code that nobody knows with %i', (status, exit) => {
    expect(EXIT_CODES[refusal(status, 'someone.elses', 'x').exit].status).toBe(exit);
  });
});

describe('exitCodeTable', () => {
  it('names every exit status once', () => {
    const statuses = Object.values(EXIT_CODES).map(({ status }) => status);
    expect(new Set(statuses).size).toBe(statuses.length);
    for (const status of statuses) expect(exitCodeTable()).toMatch(new RegExp(`^ +${String(status)}  \\w`, 'm'));
  });

  it('stands in the reference as it is', async () => {
    const reference = await readFile(join(import.meta.dirname, '../../../docs/reference/cli.md'), 'utf8');
    const rows = Object.values(EXIT_CODES).map(({ status, meaning }) => `| ${String(status)} | ${meaning} |`);
    expect(reference).toContain(`|---|---|\n${rows.join('\n')}\n`);
  });
});
