import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';

import { KEK_BYTES, KekRing, MAX_KEKS, WRAP_OVERHEAD_BYTES } from './kek-ring.js';
import { describeKeyVault } from './testing/index.js';

describeKeyVault('KekRing', () => new KekRing([randomBytes(KEK_BYTES)]));

describe('KekRing', () => {
  const old = randomBytes(KEK_BYTES);
  const current = randomBytes(KEK_BYTES);

  it('opens what an earlier key wrapped, and wraps with the first', async () => {
    const wrappedBefore = await new KekRing([old]).wrap('recipe', 'row', Buffer.from('secret'));
    const ring = new KekRing([current, old]);
    expect(Buffer.from(await ring.unwrap('recipe', 'row', wrappedBefore)).toString()).toBe('secret');

    const wrappedAfter = await ring.wrap('recipe', 'row', Buffer.from('secret'));
    expect(Buffer.from(await new KekRing([current]).unwrap('recipe', 'row', wrappedAfter)).toString()).toBe('secret');
    await expect(new KekRing([old]).unwrap('recipe', 'row', wrappedAfter)).rejects.toMatchObject({
      code: 'keys.wrapped-invalid',
    });
  });

  it('says which key a wrapped secret needs when it is not in the ring', async () => {
    const ring = new KekRing([old]);
    const wrapped = await ring.wrap('recipe', 'row', Buffer.from('secret'));
    const [prefix = new Uint8Array()] = await ring.prefixes();
    const other = new KekRing([current]);
    expect([ring.names(wrapped), other.names(wrapped)]).toEqual([true, false]);
    await expect(other.unwrap('recipe', 'row', wrapped)).rejects.toThrow(
      Buffer.from(prefix).subarray(1).toString('hex'),
    );
  });

  it('gives the prefix of every key, the current first', async () => {
    const [first, second] = await new KekRing([current, old]).prefixes();
    expect([first]).toEqual(await new KekRing([current]).prefixes());
    expect([second]).toEqual(await new KekRing([old]).prefixes());
  });

  it('adds exactly the stated overhead', async () => {
    expect(await new KekRing([current]).wrap('folder', 'row', new Uint8Array(5))).toHaveLength(WRAP_OVERHEAD_BYTES + 5);
  });

  it('keeps its own copy of the keys', async () => {
    const key = Uint8Array.from(current);
    const ring = new KekRing([key]);
    const wrapped = await ring.wrap('folder', 'row', Buffer.from('secret'));
    key.fill(0);
    expect(Buffer.from(await ring.unwrap('folder', 'row', wrapped)).toString()).toBe('secret');
  });

  it('takes 1 to 16 different keys of 32 bytes', () => {
    const keys = Array.from({ length: MAX_KEKS + 1 }, () => randomBytes(KEK_BYTES));
    expect(() => new KekRing(keys.slice(1))).not.toThrow();
    for (const refused of [[], keys, [randomBytes(31)], [randomBytes(33)], [new Uint8Array(0)], [old, current, old]])
      expect(() => new KekRing(refused)).toThrow(RangeError);
  });

  it('shows no key when it is printed', () => {
    expect(inspect(new KekRing([current]), { depth: 9, showHidden: true })).toBe('KekRing {}');
  });

  // Computed once with another implementation (Python, cryptography 48.0.0): the format must not drift.
  it('opens the frozen wrapped secret', async () => {
    const ring = new KekRing([Buffer.alloc(32, 0x11)]);
    const wrapped = Buffer.from(
      '01c19b74dbb77260cd000102030405060708090a0b1733f1cd39cfd52b6ab6c0d58a75c072f456eb2e0126e1631971f18c4b',
      'hex',
    );
    expect(Buffer.from(await ring.unwrap('recipe', 'row-1', wrapped)).toString()).toBe('frozen secret');
    expect(Buffer.from(await ring.macKey('url-signing')).toString('hex')).toBe(
      '0bd6b277caaecde88b993863537634350ad9bec16be79c956ab390f4af6d06b8',
    );
  });
});
