import { InMemoryDeviceIdentity } from './testing/in-memory-device-identity.js';
import { DeviceStateKey } from './device-state-key.js';

const TEXT = '{"version":7,"text":"ä€\\n"}';

describe('DeviceStateKey', () => {
  let identity: InMemoryDeviceIdentity;
  let key: DeviceStateKey;

  beforeEach(async () => {
    identity = await InMemoryDeviceIdentity.create();
    key = await DeviceStateKey.of(identity);
  });

  it('gives back what the same device kept, also after a restart', async () => {
    const again = await DeviceStateKey.of(identity);
    for (const text of ['', TEXT, 'x'.repeat(100_000)]) {
      expect(again.authentic('jwks', key.authenticate('jwks', text))).toBe(text);
      expect(again.unseal('local-key', key.seal('local-key', text))).toBe(text);
    }
  });

  it('leaves an authenticated text readable, and a sealed one not', () => {
    expect(key.authenticate('jwks', TEXT)).toContain(TEXT);
    expect(Buffer.from(key.seal('local-key', TEXT), 'base64url').toString('latin1')).not.toContain('version');
    expect(key.seal('local-key', TEXT)).not.toBe(key.seal('local-key', TEXT));
  });

  it('refuses every single changed character', () => {
    const authenticated = key.authenticate('jwks', TEXT);
    const sealed = key.seal('local-key', TEXT);
    const changed = (text: string, at: number): string =>
      text.slice(0, at) + (text[at] === 'A' ? 'Q' : 'A') + text.slice(at + 1);
    for (let at = 0; at < authenticated.length; at += 1)
      expect(key.authentic('jwks', changed(authenticated, at))).toBeUndefined();
    for (let at = 0; at < sealed.length; at += 1) expect(key.unseal('local-key', changed(sealed, at))).toBeUndefined();
  });

  it('refuses what was cut, what is too short, and what nobody made', () => {
    const authenticated = key.authenticate('jwks', TEXT);
    for (const text of ['', '\n', TEXT, authenticated.slice(0, -1), authenticated.slice(1), `${authenticated} `])
      expect(key.authentic('jwks', text)).toBeUndefined();
    const sealed = key.seal('local-key', '');
    for (const text of ['', 'A', sealed.slice(0, -4), `${sealed}AAAA`, 'not base64url!'])
      expect(key.unseal('local-key', text)).toBeUndefined();
  });

  it("refuses another purpose's and another device's", async () => {
    const other = await DeviceStateKey.of(await InMemoryDeviceIdentity.create());
    expect(key.authentic('time-mark', key.authenticate('jwks', TEXT))).toBeUndefined();
    expect(key.unseal('jwks', key.seal('local-key', TEXT))).toBeUndefined();
    expect(other.authentic('jwks', key.authenticate('jwks', TEXT))).toBeUndefined();
    expect(other.unseal('local-key', key.seal('local-key', TEXT))).toBeUndefined();
  });

  it('shows no key when it is printed', () => {
    expect(JSON.stringify(key)).toBe('{}');
  });
});
