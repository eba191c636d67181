import { defaultFolderPolicy, ENGINES_FOLDER, mayRead, mayWrite } from './folder-policy.js';
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
