import { wantedPart } from './entity-headers.js';

const STRONG = '"1-abc"';
const WEAK = 'W/"legacy-abc"';
const RANGE = 'bytes=10-19';

describe('wantedPart', () => {
  // RFC 9110 §13.1.5: If-Range needs the strong comparison.
  it.each([
    ['the very tag', STRONG, STRONG, 'range'],
    ['another tag', STRONG, '"2-abc"', 'all'],
    ['a weak form of the tag', STRONG, `W/${STRONG}`, 'all'],
    ['the very tag, which is weak', WEAK, WEAK, 'all'],
    ['a strong form of a weak tag', WEAK, '"legacy-abc"', 'all'],
    ['a date', STRONG, 'Sun, 22 Nov 2026 16:00:00 GMT', 'all'],
  ])('goes on with a range under If-Range with %s, or starts anew', (_, etag, ifRange, kind) => {
    expect(wantedPart({ range: RANGE, 'if-range': ifRange }, etag, 100).kind).toBe(kind);
  });

  // RFC 9110 §13.1.2: If-None-Match has the weak comparison.
  it.each([
    ['the very tag', STRONG, STRONG],
    ['a weak form of it', STRONG, `W/${STRONG}`],
    ['the very tag, which is weak', WEAK, WEAK],
    ['a strong form of a weak tag', WEAK, '"legacy-abc"'],
    ['a list with it', WEAK, `"x", ${WEAK}`],
    ['any', WEAK, '*'],
  ])('sends nothing under If-None-Match with %s', (_, etag, known) => {
    expect(wantedPart({ 'if-none-match': known }, etag, 100).kind).toBe('not-modified');
  });

  it('sends what has another tag', () => {
    expect(wantedPart({ 'if-none-match': '"x", W/"y"' }, WEAK, 100).kind).toBe('all');
  });
});
