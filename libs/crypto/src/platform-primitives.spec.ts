import { createCipheriv, createDecipheriv, createHmac, hkdfSync } from 'node:crypto';

/** The platform's primitives as this lib calls them: a build of Node or OpenSSL that computes something else must not pass. */

function hex(text: string): Buffer {
  return Buffer.from(text, 'hex');
}

describe('HMAC-SHA-256 on RFC 4231', () => {
  it.each([
    ['0b'.repeat(20), '4869205468657265', 'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7'],
    [
      '4a656665',
      '7768617420646f2079612077616e7420666f72206e6f7468696e673f',
      '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
    ],
    ['aa'.repeat(20), 'dd'.repeat(50), '773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe'],
  ])('key %s', (key, data, mac) => {
    expect(createHmac('sha256', hex(key)).update(hex(data)).digest('hex')).toBe(mac);
  });
});

describe('HKDF-SHA-256 on RFC 5869', () => {
  it.each([
    [
      '000102030405060708090a0b0c',
      'f0f1f2f3f4f5f6f7f8f9',
      '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
    ],
    ['', '', '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8'],
  ])('salt "%s", info "%s"', (salt, info, okm) => {
    const derived = hkdfSync('sha256', hex('0b'.repeat(22)), hex(salt), hex(info), 42);
    expect(Buffer.from(derived).toString('hex')).toBe(okm);
  });
});

// McGrew and Viega, "The Galois/Counter Mode of Operation", test cases 13, 14 and 16.
describe('AES-256-GCM on the vectors of its specification', () => {
  const KEY_16 = 'feffe9928665731c6d6a8f9467308308'.repeat(2);
  it.each([
    ['00'.repeat(32), '00'.repeat(12), '', '', '', '530f8afbc74536b9a963b4f1c4cb738b'],
    [
      '00'.repeat(32),
      '00'.repeat(12),
      '',
      '00'.repeat(16),
      'cea7403d4d606b6e074ec5d3baf39d18',
      'd0d1c8a799996bf0265b98b5d48ab919',
    ],
    [
      KEY_16,
      'cafebabefacedbaddecaf888',
      'feedfacedeadbeeffeedfacedeadbeefabaddad2',
      'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39',
      '522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662',
      '76fc6ece0f4e1768cddf8853bb2d551b',
    ],
  ])('key %s', (key, nonce, aad, plaintext, ciphertext, tag) => {
    const cipher = createCipheriv('aes-256-gcm', hex(key), hex(nonce));
    cipher.setAAD(hex(aad));
    expect(Buffer.concat([cipher.update(hex(plaintext)), cipher.final()]).toString('hex')).toBe(ciphertext);
    expect(cipher.getAuthTag().toString('hex')).toBe(tag);

    const decipher = createDecipheriv('aes-256-gcm', hex(key), hex(nonce), { authTagLength: 16 });
    decipher.setAAD(hex(aad)).setAuthTag(hex(tag));
    expect(Buffer.concat([decipher.update(hex(ciphertext)), decipher.final()]).toString('hex')).toBe(plaintext);
  });
});
