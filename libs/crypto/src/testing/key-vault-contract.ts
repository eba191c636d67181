/// <reference types="jest" />
import { randomBytes } from 'node:crypto';

import { WRAP_PREFIX_BYTES } from '../kek-ring.js';
import { KEY_PURPOSES, type KeyVault } from '../key-vault.js';

const REFUSED = { code: 'keys.wrapped-invalid' };

/**
 * What every {@link KeyVault} must do.
 *
 * @param createVault - A vault with keys of its own at every call.
 */
export function describeKeyVault(name: string, createVault: () => KeyVault | Promise<KeyVault>): void {
  describe(`${name} as a key vault`, () => {
    it.each([0, 1, 32, 1000])('opens a wrapped secret of %i bytes again', async (sizeBytes) => {
      const vault = await createVault();
      const secret = new Uint8Array(randomBytes(sizeBytes));
      for (const purpose of KEY_PURPOSES)
        expect(await vault.unwrap(purpose, 'row', await vault.wrap(purpose, 'row', secret))).toEqual(secret);
    });

    it('wraps equal secrets differently and shows nothing of them', async () => {
      const vault = await createVault();
      const secret = randomBytes(32);
      const first = Buffer.from(await vault.wrap('recipe', 'row', secret));
      expect(first.equals(await vault.wrap('recipe', 'row', secret))).toBe(false);
      expect(first.includes(secret.subarray(0, 8))).toBe(false);
    });

    it('opens nothing for another purpose or another row', async () => {
      const vault = await createVault();
      const wrapped = await vault.wrap('recipe', 'row', randomBytes(32));
      for (const purpose of KEY_PURPOSES.filter((other) => other !== 'recipe'))
        await expect(vault.unwrap(purpose, 'row', wrapped)).rejects.toMatchObject(REFUSED);
      for (const rowId of ['', 'ro', 'row2', 'Row'])
        await expect(vault.unwrap('recipe', rowId, wrapped)).rejects.toMatchObject(REFUSED);
    });

    it('opens nothing of another vault', async () => {
      const wrapped = await (await createVault()).wrap('folder', 'row', randomBytes(32));
      await expect((await createVault()).unwrap('folder', 'row', wrapped)).rejects.toMatchObject(REFUSED);
    });

    it('refuses every change of a single bit and every truncation', async () => {
      const vault = await createVault();
      const wrapped = await vault.wrap('folder', 'row', randomBytes(32));
      for (let bit = 0; bit < 8 * wrapped.length; bit += 1) {
        const changed = Uint8Array.from(wrapped);
        changed.set([(changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))], bit >> 3);
        await expect(vault.unwrap('folder', 'row', changed)).rejects.toMatchObject(REFUSED);
      }
      for (let sizeBytes = 0; sizeBytes < wrapped.length; sizeBytes += 1)
        await expect(vault.unwrap('folder', 'row', wrapped.subarray(0, sizeBytes))).rejects.toMatchObject(REFUSED);
    });

    it('names the current key at the beginning of everything it wraps', async () => {
      const vault = await createVault();
      const [current = new Uint8Array(), ...earlier] = await vault.prefixes();
      expect(current).toHaveLength(WRAP_PREFIX_BYTES);
      expect(earlier).toEqual([]);
      for (const purpose of KEY_PURPOSES) {
        const wrapped = await vault.wrap(purpose, 'row', randomBytes(32));
        expect(Buffer.from(wrapped.subarray(0, WRAP_PREFIX_BYTES)).equals(current)).toBe(true);
      }
    });

    it('has one MAC key of 32 bytes, and another vault has another', async () => {
      const vault = await createVault();
      const key = await vault.macKey('url-signing');
      expect(key).toHaveLength(32);
      expect(await vault.macKey('url-signing')).toEqual(key);
      expect(await (await createVault()).macKey('url-signing')).not.toEqual(key);
    });
  });
}
