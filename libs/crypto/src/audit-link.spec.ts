import { AUDIT_START, type AuditedEvent, auditLinkHash, AuditWalk } from './audit-link.js';

const EVENT: AuditedEvent = {
  id: 7,
  at: '2026-09-21T14:13:20.123Z',
  event: 'grant.issued',
  actor: 'somebody',
  address: '192.0.2.1',
  subject: 'models/ä"\\\n',
  details: { b: 0, ok: true, a: 'x' },
};
// Computed with another implementation (Python's hashlib and json): whoever keeps an export must be able to check it.
const FIRST = { sequence: 1, hash: '03c25e3bf383d551b03ea8533c2e89931a8c7d92d2347bb4d62c30af78615eba' };

describe('auditLinkHash', () => {
  it('is the one of docs/reference/audit.md, in hexadecimal', () => {
    expect(auditLinkHash(AUDIT_START.hash, 1, EVENT)).toBe(FIRST.hash);
  });

  it('is the same in whichever order the details come', () => {
    for (const details of [
      { a: 'x', b: 0, ok: true },
      { ok: true, b: 0, a: 'x' },
    ])
      expect(auditLinkHash(AUDIT_START.hash, 1, { ...EVENT, details })).toBe(FIRST.hash);
  });
});

describe('AuditWalk', () => {
  it('follows the links of events, and says where it is', () => {
    const walk = new AuditWalk(AUDIT_START);
    expect(walk.at).toEqual({ sequence: 0, hash: '0'.repeat(64) });
    expect(walk.follow(FIRST, EVENT)).toBeUndefined();
    expect(walk.at).toEqual(FIRST);
    expect(walk.end()).toBeUndefined();
  });

  it('stays where it was at a link whose event is gone', () => {
    const walk = new AuditWalk(AUDIT_START);
    expect(walk.follow(FIRST, undefined)).toBe('event-missing');
    expect(walk.at).toEqual(AUDIT_START);
  });
});
