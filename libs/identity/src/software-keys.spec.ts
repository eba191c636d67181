import { generateSoftwareKeys, isSoftwareKeys, type SoftwareKeys } from './software-keys.js';

describe('isSoftwareKeys', () => {
  let keys: SoftwareKeys;
  beforeAll(async () => {
    keys = await generateSoftwareKeys();
  });

  it('takes two whole, different key pairs', async () => {
    expect(isSoftwareKeys(keys)).toBe(true);
    expect(isSoftwareKeys(JSON.parse(JSON.stringify(await generateSoftwareKeys())))).toBe(true);
  });

  it('refuses anything less, anything more, and one key in both places', async () => {
    const { agreement, signing } = keys;
    const { d } = (await generateSoftwareKeys()).signing;
    for (const other of [
      undefined,
      null,
      'agreement,signing',
      [],
      {},
      { agreement },
      { signing },
      { agreement, signing, more: 1 },
      { agreement, signing: null },
      { agreement: 'key', signing },
      { agreement, signing: { ...signing, d } },
      { agreement: { ...agreement, d }, signing },
      { agreement, signing: agreement },
    ])
      expect(isSoftwareKeys(other)).toBe(false);
  });
});
