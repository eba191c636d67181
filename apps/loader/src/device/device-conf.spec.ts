import { parseDeviceConf, readDeviceConf } from './device-conf.js';

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
      `# made by provisioning\r\nexport AZAION_DEVICE_EMAIL = "azj-0007@azaion.com"\r\nOTHER=1\r\n\r\nAZAION_DEVICE_PASSWORD='a=b # c'\r\nAZAION_STATEMENT_ROOT={"kty":"EC"}\r\n`,
    );
    expect(conf.serial).toBe('azj-0007');
    expect(conf.password.reveal()).toBe('a=b # c');
    expect(conf.statementRoot).toBe('{"kty":"EC"}');
  });

  it.each([
    ['nothing', '', 'AZAION_DEVICE_EMAIL'],
    ['no address', CONF.replace('@azaion.com', ''), 'AZAION_DEVICE_EMAIL'],
    ['a serial that is a path', CONF.replace('azj-0007@', '../x@'), 'AZAION_DEVICE_EMAIL'],
    ['no password', 'AZAION_DEVICE_EMAIL=azj-0007@azaion.com', 'AZAION_DEVICE_PASSWORD'],
    ['too much', CONF.padEnd(70_000, '#'), 'too long'],
  ])('refuses %s by name', (_, text, name) => expect(() => parseDeviceConf(text)).toThrow(name));
});

describe('readDeviceConf', () => {
  it('says that there is no device where there is no file', async () => {
    expect(await readDeviceConf('/no/such/device.conf')).toBeUndefined();
  });
});
