import {
  DEFAULT_LEASE_SECONDS,
  defaultFolderPolicy,
  ENGINES_FOLDER,
  isAttestedFor,
  MAX_LEASE_SECONDS,
  mayOpenAttested,
  mayRead,
  mayWrite,
  MIN_LEASE_SECONDS,
} from './folder-policy.js';
import { type Role, ROLES, WORKING_ROLES } from './roles.js';

const ALL_ROLES = Object.keys(ROLES) as Role[];

describe('the policy of a folder nobody has set rules for', () => {
  it('lets every role but None read', () => {
    for (const folder of ['models', ENGINES_FOLDER])
      expect(ALL_ROLES.filter((role) => mayRead(defaultFolderPolicy(folder), role))).toEqual([...WORKING_ROLES]);
  });

  it('lets uploaders and API administrators write, and devices in the engines folder only', () => {
    const writers = (folder: string): Role[] => ALL_ROLES.filter((role) => mayWrite(defaultFolderPolicy(folder), role));
    expect(writers('models')).toEqual(['ResourceUploader', 'ApiAdmin']);
    expect(writers('Engines')).toEqual(['ResourceUploader', 'ApiAdmin']);
    expect(writers(ENGINES_FOLDER)).toEqual(['CompanionPC', 'ResourceUploader', 'ApiAdmin']);
  });
});

describe('a folder policy', () => {
  it('gives exactly what it names, reading and writing apart', () => {
    const policy = { read: ['Operator'], write: ['Service'] } as const;
    expect(ALL_ROLES.filter((role) => mayRead(policy, role))).toEqual(['Operator']);
    expect(ALL_ROLES.filter((role) => mayWrite(policy, role))).toEqual(['Service']);
  });

  it('never lets None in, even when it is named', () => {
    const policy = { read: ['None'], write: ['None'] } as const;
    expect(mayRead(policy, 'None') || mayWrite(policy, 'None')).toBe(false);
  });
});

describe('attestation', () => {
  const open = { ...defaultFolderPolicy('models') };
  const closed = { ...open, requireAttestation: true };
  const readable = { ...closed, peopleMayRead: true };
  const device = { role: 'CompanionPC', isDevice: true } as const;
  const person = { role: 'Operator', isDevice: false } as const;

  it.each([
    ['a folder without it', open, device, false, true, true],
    ['a folder without it', open, person, false, true, true],
    ['an unattested device', closed, device, false, false, false],
    ['an attested device', closed, device, true, true, true],
    ['a person alone', closed, person, false, false, false],
    ['a person behind an attested device', closed, person, true, true, false],
    ['a person who may read', readable, person, false, true, true],
    ['an unattested device where people may read', readable, device, false, false, false],
  ])('%s', (_case, policy, reader, attested, sees, opens) => {
    expect(isAttestedFor(policy, { ...reader, attested })).toBe(sees);
    expect(mayOpenAttested(policy, { ...reader, attested })).toBe(opens);
  });

  it('is not asked for by default, and leases lie within their bounds', () => {
    const policy = defaultFolderPolicy('models');
    expect(policy).toMatchObject({ requireAttestation: false, peopleMayRead: false, quotaBytes: undefined });
    expect([MIN_LEASE_SECONDS, MAX_LEASE_SECONDS]).toEqual([3600, 90 * 86_400]);
    expect(policy.leaseSeconds).toBe(DEFAULT_LEASE_SECONDS);
  });
});
