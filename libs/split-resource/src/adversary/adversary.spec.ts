import { createCipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';

import fc from 'fast-check';

import { CandidateKeys } from './candidate-keys.js';
import { type SealedTarget, tryKeys } from './key-trial.js';
import { PlaintextWindows, WINDOW_BYTES } from './plaintext-windows.js';
import { readings } from './stored-bytes.js';

describe('PlaintextWindows', () => {
  const plaintext = randomBytes(50_000);

  it('finds nothing in bytes that have nothing to do with the plaintext', () => {
    expect(new PlaintextWindows([plaintext]).search(randomBytes(2_000_000)).hits).toBe(0);
  });

  it('finds a run of plaintext of the promised length wherever it comes from and wherever it lies', () => {
    const windows = new PlaintextWindows([randomBytes(3000), plaintext]);
    fc.assert(
      fc.property(
        fc.nat(plaintext.length - windows.surelyFoundBytes),
        fc.nat(5000),
        fc.nat(3),
        (from, before, after) => {
          const run = plaintext.subarray(from, from + windows.surelyFoundBytes);
          const { hits, examples } = windows.search(Buffer.concat([randomBytes(before), run, randomBytes(after)]));
          expect(hits).toBeGreaterThan(0);
          const [hit] = examples;
          expect(hit).toMatchObject({ plaintext: 1 });
          expect(hit!.foundOffset - before).toBe(hit!.plaintextOffset - from);
        },
      ),
    );
  });

  it('finds the one window that stands at the very end, and not one that is cut short there', () => {
    const windows = new PlaintextWindows([plaintext.subarray(0, WINDOW_BYTES)]);
    expect(windows.count).toBe(1);
    const padded = Buffer.concat([randomBytes(99), plaintext.subarray(0, WINDOW_BYTES)]);
    expect(windows.search(padded).hits).toBe(1);
    expect(windows.search(padded.subarray(0, -1)).hits).toBe(0);
  });

  it('notices a single changed bit', () => {
    const windows = new PlaintextWindows([plaintext.subarray(0, WINDOW_BYTES)]);
    fc.assert(
      fc.property(fc.nat(WINDOW_BYTES * 8 - 1), (bit) => {
        const changed = Buffer.from(plaintext.subarray(0, WINDOW_BYTES));
        changed[bit >>> 3] = changed[bit >>> 3]! ^ (1 << (bit & 7));
        expect(windows.search(changed).hits).toBe(0);
      }),
    );
  });

  it('does not take zeros and short patterns for plaintext', () => {
    const windows = new PlaintextWindows([Buffer.alloc(100_000), Buffer.from('abab'.repeat(1000))]);
    expect(windows.count).toBe(0);
    expect(windows.search(Buffer.alloc(100_000)).hits).toBe(0);
  });

  it('keeps few windows of much plaintext, and says which runs it then finds', () => {
    const windows = new PlaintextWindows([plaintext], 100);
    expect(windows.count).toBe(100);
    expect(windows.surelyFoundBytes).toBe(500 + WINDOW_BYTES - 1);
    expect(windows.search(plaintext.subarray(777, 777 + windows.surelyFoundBytes)).hits).toBe(1);
  });

  it('leaves out what is public', () => {
    const windows = new PlaintextWindows([plaintext]);
    const known = plaintext.subarray(640, 640 + 3 * WINDOW_BYTES);
    expect(windows.exclude(known)).toBe(3);
    expect(windows.search(known).hits).toBe(0);
    expect(windows.search(plaintext).hits).toBe(windows.count);
  });
});

describe('readings', () => {
  const secret = randomBytes(5000);
  const windows = new PlaintextWindows([secret]);
  const hits = (bytes: Uint8Array): number =>
    readings({ where: 'x', bytes }).reduce((sum, reading) => sum + windows.search(reading.bytes).hits, 0);

  it.each([
    ['as it is', Buffer.concat([randomBytes(7), secret])],
    ['in hexadecimal', Buffer.from(`{"a":"${secret.toString('hex')}"}`)],
    ['in Base64', Buffer.from(`key=${secret.toString('base64')}`)],
    ['in Base64 behind a stroke', Buffer.from(`/${secret.toString('base64')}`)],
    ['in Base64 on which a word hangs', Buffer.from(`k-${secret.toString('base64url')}`)],
    ['in Base64 at the end of a path', Buffer.from(`/ke/${secret.toString('base64')}`)],
    ['in hexadecimal on which a word hangs', Buffer.from(`key-${secret.toString('hex')}`)],
    ['in base64url', Buffer.from(secret.toString('base64url'))],
    ['compressed with zstd', Buffer.concat([randomBytes(100), zstdCompressSync(secret)])],
    ['compressed with gzip', Buffer.concat([randomBytes(3), gzipSync(secret)])],
    ['compressed with deflate', deflateSync(secret)],
    ['compressed, in Base64', Buffer.from(zstdCompressSync(secret).toString('base64'))],
  ])('reveal plaintext that is stored %s', (_how, stored) => {
    expect(hits(stored)).toBeGreaterThan(0);
  });

  it('reveal nothing of what is encrypted', () => {
    const cipher = createCipheriv('aes-256-gcm', randomBytes(32), randomBytes(12));
    expect(hits(Buffer.concat([cipher.update(zstdCompressSync(secret)), cipher.final()]))).toBe(0);
  });
});

describe('tryKeys', () => {
  const key = randomBytes(32);

  function target(secret: Uint8Array, info?: Uint8Array): SealedTarget {
    const nonce = randomBytes(12);
    const used = info === undefined ? secret : new Uint8Array(hkdfSync('sha256', secret, new Uint8Array(0), info, 32));
    const plaintext = randomBytes(100);
    const cipher = createCipheriv('aes-256-gcm', used, nonce);
    cipher.setAAD(randomBytes(10));
    return {
      where: info === undefined ? 'chunk' : 'segment',
      nonce,
      ciphertext: cipher.update(plaintext),
      knownPrefix: plaintext.subarray(0, 16),
      derivation: info === undefined ? undefined : { by: 'hkdf', input: info },
    };
  }

  it('opens what a stored key opens, wherever in the stored bytes it lies and however it is written', () => {
    for (const bytes of [
      Buffer.concat([randomBytes(33), key, randomBytes(5)]),
      Buffer.from(JSON.stringify({ k: key.toString('base64url') })),
      Buffer.from(key.toString('hex')),
    ]) {
      const keys = new CandidateKeys();
      for (const reading of readings({ where: 'table', bytes })) keys.addFrom(reading);
      expect(tryKeys(keys, [target(randomBytes(32)), target(key)]).opened).toEqual(['chunk']);
    }
  });

  it('opens what a stored key is the root of', () => {
    const keys = new CandidateKeys();
    keys.add(key);
    expect(tryKeys(keys, [target(key, Buffer.from('info'))]).opened).toEqual(['segment']);
  });

  it('opens what is sealed under the HMAC of a guess by a stored key', () => {
    const guess = randomBytes(46);
    const gives = createHmac('sha256', key).update(guess).digest();
    const keys = new CandidateKeys();
    keys.add(key);
    const opened = (input: Uint8Array): readonly string[] =>
      tryKeys(keys, [{ ...target(gives), derivation: { by: 'hmac', input, gives } }]).opened;
    expect(opened(guess)).toEqual(['chunk']);
    expect(opened(randomBytes(46))).toEqual([]);
  });

  it('opens what a passphrase opens', () => {
    const keys = new CandidateKeys();
    keys.addPassphrase('secret');
    const [derived] = keys;
    expect(tryKeys(keys, [target(derived!)])).toEqual({ trials: 1, opened: ['chunk'] });
  });

  it('opens nothing with keys that do not belong to it, and counts what it tried', () => {
    const keys = new CandidateKeys();
    keys.addFrom({ where: 'noise', bytes: randomBytes(1031) });
    expect(keys.count).toBe(1000);
    expect(tryKeys(keys, [target(key), target(key), target(key, Buffer.from('info'))])).toEqual({
      trials: 3000,
      opened: [],
    });
  });
});
