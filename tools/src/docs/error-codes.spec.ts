import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { CRYPTO_ERRORS } from '@azaion/crypto';
import { IDENTITY_ERRORS } from '@azaion/identity';
import { PROBLEMS } from '@azaion/nest-support';
import { RESOURCE_ERRORS } from '@azaion/split-resource';
import { UNLOCK_ERRORS } from '@azaion/unlock';

import { WORKSPACE } from '../started-service.js';
import { ERROR_CODES_PAGE, workspaceErrorCodesPage } from './error-codes.js';
import { literalMembers } from './source-literal.js';

describe('docs/reference/error-codes.md', () => {
  const page = readFileSync(join(WORKSPACE, ERROR_CODES_PAGE), 'utf8');
  const rows = page
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, '')));

  it('is what the tables of the code make (npm run docs)', () => {
    expect(page).toBe(workspaceErrorCodesPage(WORKSPACE));
  });

  it('has one row for every code that a service answers with, with the status of the answer', () => {
    const statuses = new Map(rows.map(([code = '', , , status]) => [code.replaceAll('`', ''), Number(status)]));
    expect(statuses.size).toBe(rows.length);
    for (const [code, { status }] of Object.entries(PROBLEMS))
      expect([code, statuses.get(code)]).toEqual([code, status]);
  });

  it('says who acts as the libs do', () => {
    const acting = new Map(rows.map(([code = '', , who]) => [code.replaceAll('`', ''), who]));
    const culprits = { ...CRYPTO_ERRORS, ...IDENTITY_ERRORS, ...RESOURCE_ERRORS, ...UNLOCK_ERRORS };
    for (const [code, who] of Object.entries(culprits)) expect([code, acting.get(code)]).toEqual([code, who]);
  });

  it('says of every code what happened, how the command ends, and what to do next', () => {
    for (const [code, happened = '', who, , exit, next = ''] of rows) {
      expect({ code, happened, who, exit, next }).toEqual({
        code,
        happened: expect.stringMatching(/^.{8,}$/) as string,
        who: expect.stringMatching(/^(?:attacker|caller|operator|publisher|upstream)$/) as string,
        exit: expect.stringMatching(/^\d+$/) as string,
        next: expect.stringMatching(/^[A-Z].{10,}[.:]?.*$/) as string,
      });
    }
  });
});

describe('apps/cli/src/remedies.ts', () => {
  it('helps with codes that there are', () => {
    const source = readFileSync(join(WORKSPACE, 'apps/cli/src/remedies.ts'), 'utf8');
    const page = workspaceErrorCodesPage(WORKSPACE);
    const helped = literalMembers(source, 'REMEDIES').map(({ name }) => name);
    expect(helped.filter((code) => !page.includes(`| \`${code}\` |`))).toEqual([]);
  });
});

describe('literalMembers', () => {
  it('reads texts, numbers and objects, and the comment behind each on its line', () => {
    const source = "const TABLE = { 'a.b': 'x', // why\n c: { d: 1 } } as const satisfies object;";
    expect(literalMembers(source, 'TABLE')).toEqual([
      { name: 'a.b', value: 'x', remark: 'why' },
      { name: 'c', value: { d: 1 }, remark: '' },
    ]);
  });

  it.each(['const OTHER = {};', 'const TABLE = 1;', 'const TABLE = { a: other };', 'const TABLE = { ...other };'])(
    'refuses what it cannot read: %s',
    (source) => {
      expect(() => literalMembers(source, 'TABLE')).toThrow(Error);
    },
  );
});
