import { Secret } from '@azaion/kernel';

import { createLogger, redactQueries } from './logging.js';

function logged(write: (logger: ReturnType<typeof createLogger>) => void): string {
  let text = '';
  write(createLogger({ destination: { write: (line: string) => void (text += line) } }));
  return text;
}

describe('the logger', () => {
  it.each([
    { password: 'geheim' },
    { user: { password: 'geheim' } },
    { request: { headers: { authorization: 'Bearer geheim', cookie: 'geheim', 'set-cookie': 'geheim' } } },
    { headers: { 'azaion-device': 'geheim' } },
    { token: 'geheim', access_token: 'geheim', refresh_token: 'geheim', refreshToken: 'geheim', assertion: 'geheim' },
    { value: new Secret('geheim') },
    { err: new Error('GET https://cdn.example/pack?X-Amz-Signature=geheim failed') },
    new Error('GET https://cdn.example/pack?X-Amz-Signature=geheim failed'),
    { err: new Error('outside', { cause: new Error('https://cdn.example/p?sig=geheim') }) },
  ])('writes nothing secret of %j', (entry) => {
    const line = logged((logger) => logger.info(entry, 'message'));
    expect(line).toContain('[redacted]');
    expect(line).not.toContain('geheim');
  });

  it('hides query strings of an error that is its own message', () => {
    const error = new Error('GET https://cdn.example/pack?X-Amz-Signature=geheim failed');
    for (const entry of [error, { err: error }]) {
      const line = logged((logger) => logger.error(entry));
      expect(line).not.toContain('geheim');
      expect(JSON.parse(line)).toMatchObject({ msg: 'GET https://cdn.example/pack?[redacted] failed' });
    }
  });

  it("keeps the framework's talk of its assembly for those who debug, and its warnings for everybody", () => {
    const talk = { context: 'RouterExplorer' };
    expect(logged((logger) => logger.info(talk, 'Mapped a route'))).toBe('');
    expect(logged((logger) => logger.warn(talk, 'Mapped twice'))).toContain('Mapped twice');
    expect(logged((logger) => logger.info({ context: 'Loader' }, 'Listening'))).toContain('Listening');
  });

  it('hides query strings in messages', () => {
    const line = logged((logger) =>
      logger.warn('fetching https://cdn.example/a/b?sig=geheim and /path?token=geheim again'),
    );
    expect(JSON.parse(line)).toMatchObject({
      msg: 'fetching https://cdn.example/a/b?[redacted] and /path?[redacted] again',
    });
  });

  it('keeps name, code, stack and causes of an error', () => {
    const cause = Object.assign(new Error('inner'), { code: 'ECONNREFUSED' });
    const line: unknown = JSON.parse(logged((logger) => logger.error({ err: new TypeError('outer', { cause }) })));
    expect(line).toMatchObject({
      err: { type: 'TypeError', message: 'outer', cause: { message: 'inner', code: 'ECONNREFUSED' } },
    });
    expect((line as { err: { stack: string } }).err.stack).toContain('logging.spec');
  });

  it('ends a chain of causes that goes round', () => {
    const error = new Error('round');
    error.cause = error;
    expect(logged((logger) => logger.error({ err: error }))).toContain('round');
  });
});

describe('redactQueries', () => {
  it.each([
    ['no address', 'no address'],
    ['is this so? yes', 'is this so? yes'],
    ['http://a/b?c=d#e f', 'http://a/b?[redacted] f'],
    ['"https://a/?x","https://b/?y"', '"https://a/?[redacted]","https://b/?[redacted]"'],
    ['/things?secret', '/things?[redacted]'],
    ['a/b?c', 'a/b?c'],
  ])('%s', (text, expected) => expect(redactQueries(text)).toBe(expected));
});
