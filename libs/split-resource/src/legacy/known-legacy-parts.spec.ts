import { ManualClock } from '@azaion/kernel';

import { KnownLegacyParts } from './known-legacy-parts.js';

describe('KnownLegacyParts', () => {
  let clock: ManualClock;
  let known: KnownLegacyParts;
  beforeEach(() => {
    clock = new ManualClock(0);
    known = new KnownLegacyParts(clock);
  });

  it('knows what it was told, of these parts in these states', () => {
    known.published('small', 'plaintext');
    known.misfitFound('small', 'big');
    known.agreed('here', 'there');
    expect([known.plaintextOf('small'), known.plaintextOf('other')]).toEqual(['plaintext', undefined]);
    expect([known.isMisfit('small', 'big'), known.isMisfit('small', 'other'), known.isMisfit('other', 'big')]).toEqual([
      true,
      false,
      false,
    ]);
    expect([known.isAgreed('here', 'there'), known.isAgreed('there', 'here'), known.isAgreed('here', 'here')]).toEqual([
      true,
      false,
      false,
    ]);
  });

  it('keeps 4096 of a kind, and forgets what it was told longest ago', () => {
    for (let at = 0; at < 4096; at += 1) known.published(`small ${at}`, 'plaintext');
    known.published('small 0', 'plaintext'); // told again: it is not the oldest any more
    expect(known.plaintextOf('small 1')).toBe('plaintext');
    known.published('one more', 'plaintext');
    expect(['small 0', 'small 1', 'small 2', 'one more'].map((small) => known.plaintextOf(small))).toEqual([
      'plaintext',
      undefined,
      'plaintext',
      'plaintext',
    ]);
  });

  it('does not ask a CDN again for half a minute after it was silent', () => {
    expect(known.isCdnAsked).toBe(true);
    known.cdnIsSilent();
    clock.advance(29_999);
    expect(known.isCdnAsked).toBe(false);
    clock.advance(1);
    expect(known.isCdnAsked).toBe(true);
  });
});
