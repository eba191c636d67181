import { othersMayUse } from './secret-file-mode.js';

const SERVICE = 65_532;
const ROOT = 0;

describe('othersMayUse', () => {
  it.each([0o400, 0o440, 0o600, 0o640])('lets root hand a file of mode %o to the group of a service', (mode) => {
    expect(othersMayUse({ mode: 0o100_000 | mode, uid: ROOT }, SERVICE)).toBe(false);
  });

  it.each([0o404, 0o444, 0o420, 0o460, 0o410, 0o402, 0o401])('refuses mode %o even from root', (mode) => {
    expect(othersMayUse({ mode: 0o100_000 | mode, uid: ROOT }, SERVICE)).toBe(true);
  });

  it.each([
    ['one’s own', SERVICE, SERVICE],
    ['a third user’s', 1000, SERVICE],
    ['root’s, when root is who asks', ROOT, ROOT],
    ['any, where there are no users', 1000, undefined],
  ])('refuses a file that a group may read: %s', (_whose, uid, ownUid) => {
    expect(othersMayUse({ mode: 0o100_440, uid }, ownUid)).toBe(true);
    expect(othersMayUse({ mode: 0o100_600, uid }, ownUid)).toBe(false);
  });
});
