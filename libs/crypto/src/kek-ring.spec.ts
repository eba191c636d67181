import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';

import { KEK_BYTES, KekRing, MAX_KEKS, WRAP_OVERHEAD_BYTES } from './kek-ring.js';
import { describeKeyVault, InMemoryKeyVault } from './testing/index.js';

describeKeyVault('InMemoryKeyVault', () => new InMemoryKeyVault());

describe('KekRing', () => {
  const old = randomBytes(KEK_BYTES);
  const current = randomBytes(KEK_BYTES);

  it('opens what an earlier key wrapped, and wraps with the first', () => {
    const wrappedBefore = new KekRing([old]).wrap('recipe', 'row', Buffer.from('secret'));
    const ring = new KekRing([current, old]);
    expect(Buffer.from(ring.unwrap('recipe', 'row', wrappedBefore)).toString()).toBe('secret');

    const wrappedAfter = ring.wrap('recipe', 'row', Buffer.from('secret'));
    expect(Buffer.from(new KekRing([current]).unwrap('recipe', 'row', wrappedAfter)).toString()).toBe('secret');
    expect(() => new KekRing([old]).unwrap('recipe', 'row', wrappedAfter)).toThrow(
      expect.objectContaining({ code: 'keys.wrapped-invalid' }) as Error,
    );
  });

  it('adds exactly the stated overhead', () => {
    expect(new KekRing([current]).wrap('folder', 'row', new Uint8Array(5))).toHaveLength(WRAP_OVERHEAD_BYTES + 5);
  });

  it('keeps its own copy of the keys', () => {
    const key = Uint8Array.from(current);
    const ring = new KekRing([key]);
    const wrapped = ring.wrap('folder', 'row', Buffer.from('secret'));
    key.fill(0);
    expect(Buffer.from(ring.unwrap('folder', 'row', wrapped)).toString()).toBe('secret');
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
  it('opens the frozen wrapped secret', () => {
    const ring = new KekRing([Buffer.alloc(32, 0x11)]);
    expect(
      Buffer.from(
        ring.unwrap(
          'recipe',
          'row-1',
          Buffer.from(
            '01c19b74dbb77260cd000102030405060708090a0b1733f1cd39cfd52b6ab6c0d58a75c072f456eb2e0126e1631971f18c4b',
            'hex',
          ),
        ),
      ).toString(),
    ).toBe('frozen secret');
    expect(Buffer.from(ring.macKey('url-signing')).toString('hex')).toBe(
      '0bd6b277caaecde88b993863537634350ad9bec16be79c956ab390f4af6d06b8',
    );
  });
});
