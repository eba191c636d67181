import { DomainError } from './domain-error.js';

class TestError extends DomainError<'test.failed'> {}

describe('DomainError', () => {
  it('carries its code, the name of its class, and details that are empty unless given', () => {
    const error = new TestError('test.failed', 'It failed: try again.');
    expect(error).toMatchObject({
      code: 'test.failed',
      name: 'TestError',
      message: 'It failed: try again.',
      details: {},
    });
    expect('cause' in error).toBe(false);
    expect(new TestError('test.failed', '', { details: { field: 'a' } }).details).toEqual({ field: 'a' });
  });

  it('keeps the cause, apart from what is shown', () => {
    const cause = new Error('/secret/path');
    const error = new TestError('test.failed', 'It failed.', { cause });
    expect(error.cause).toBe(cause);
    expect(JSON.stringify([error.message, error.details])).not.toContain('secret');
  });
});
