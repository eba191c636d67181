import { Secret } from '@azaion/kernel';
import fc from 'fast-check';

import { formatDeviceConf, parseDeviceConf } from './device-conf.js';

const CONF = 'AZAION_DEVICE_EMAIL=azj-0007@azaion.com\nAZAION_DEVICE_PASSWORD=0123456789abcdef\n';

describe('parseDeviceConf', () => {
  it('reads the account, with the serial from its address', () => {
    const conf = parseDeviceConf(CONF);
    expect(conf).toMatchObject({ serial: 'azj-0007', email: 'azj-0007@azaion.com', statementRoot: undefined });
    expect(conf.password.reveal()).toBe('0123456789abcdef');
    expect(JSON.stringify(conf)).not.toContain('0123456789abcdef');
  });

  it('takes comments, quotes, spaces, exports, foreign keys and line ends of other systems', () => {
    const conf = parseDeviceConf(
      `# made by provisioning\r\nexport AZAION_DEVICE_EMAIL = "azj-0007@azaion.com"\r\nOTHER=1\r\n\r\nAZAION_DEVICE_PASSWORD='a=b # c'\r\nAZAION_STATEMENT_ROOT={"kty":"EC"}\r\nRESOURCE_API_URL=https://api.example\r\n`,
    );
    expect(conf.serial).toBe('azj-0007');
    expect(conf.password.reveal()).toBe('a=b # c');
    expect(conf.statementRoot).toBe('{"kty":"EC"}');
    expect(conf.apiUrl).toBe('https://api.example');
  });

  it.each([
    ['nothing', '', 'AZAION_DEVICE_EMAIL'],
    ['no address', CONF.replace('@azaion.com', ''), 'AZAION_DEVICE_EMAIL'],
    ['a serial that is a path', CONF.replace('azj-0007@', '../x@'), 'AZAION_DEVICE_EMAIL'],
    ['no password', 'AZAION_DEVICE_EMAIL=azj-0007@azaion.com', 'AZAION_DEVICE_PASSWORD'],
    ['too much', CONF.padEnd(70_000, '#'), 'too long'],
  ])('refuses %s by name', (_, text, name) => expect(() => parseDeviceConf(text)).toThrow(name));

  it('reads a file of 64 KiB, a serial of 64 characters, and quotes that are not in pairs as they stand', () => {
    expect(parseDeviceConf(CONF.padEnd(64 * 1024, '#')).serial).toBe('azj-0007');
    const serial = 's'.repeat(64);
    expect(parseDeviceConf(CONF.replace('azj-0007', serial)).serial).toBe(serial);
    expect(() => parseDeviceConf(CONF.replace('azj-0007', `${serial}s`))).toThrow('AZAION_DEVICE_EMAIL');
    for (const value of ['"', "'a", 'a"', `"a'`, 'a'])
      expect(parseDeviceConf(`${CONF}RESOURCE_API_URL=${value}`).apiUrl).toBe(value);
    for (const value of ['""', "''", '']) expect(parseDeviceConf(`${CONF}RESOURCE_API_URL=${value}`).apiUrl).toBe('');
  });
});

describe('formatDeviceConf', () => {
  const conf = {
    email: 'azj-0007@azaion.com',
    password: new Secret('0123456789abcdef'),
    apiUrl: 'https://api.example/base',
    statementRoot: '{"kty":"EC","crv":"P-256","x":"a","y":"b"}',
  };

  it('is read back as it was written, whatever the values', () => {
    const value = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => /^[^'\p{Cc}]+$/u.test(text));
    fc.assert(
      fc.property(value, fc.option(value, { nil: undefined }), (password, apiUrl) => {
        const read = parseDeviceConf(formatDeviceConf({ ...conf, password: new Secret(password), apiUrl }));
        expect(read.password.reveal()).toBe(password);
        expect({ ...read, password: undefined }).toEqual({
          ...conf,
          apiUrl,
          serial: 'azj-0007',
          password: undefined,
        });
      }),
      // What is the end of a line to some, and to no reader of this file.
      { examples: [['\u2028', 'a\u2029b']] },
    );
  });

  it('says who made it, and leaves out what there is not', () => {
    const lines = formatDeviceConf({ ...conf, apiUrl: undefined, statementRoot: undefined }).split('\n');
    expect(lines[0]).toMatch(/^# .+\.$/);
    expect(lines.slice(1)).toEqual([
      "AZAION_DEVICE_EMAIL='azj-0007@azaion.com'",
      "AZAION_DEVICE_PASSWORD='0123456789abcdef'",
      '',
    ]);
  });

  it.each(["'", '\n', '\r', '\0'])('refuses %j in a value: it could become a line of its own', (character) => {
    const apiUrl = `https://api.example/${character}AZAION_DEVICE_PASSWORD=x`;
    expect(() => formatDeviceConf({ ...conf, apiUrl })).toThrow('RESOURCE_API_URL');
  });
});
