import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { UNLOCK_ERRORS, UNLOCK_TRANSITIONS } from '@azaion/unlock';

import { WORKSPACE } from '../started-service.js';

/** Rows of the table under a heading, cell by cell, without the header. */
function rowsUnder(heading: string): string[][] {
  const text = readFileSync(join(WORKSPACE, 'docs', 'reference', 'unlock.md'), 'utf8');
  const section = text.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
  const rows = section.split('\n').filter((line) => line.startsWith('| `'));
  return rows.map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.replaceAll('`', '').trim()),
  );
}

describe('docs/reference/unlock.md', () => {
  it('has the transitions of the state machine, all of them and no others', () => {
    const written = rowsUnder('States').map(([from = '', to = '']) => [from, to.split(', ')]);
    expect(Object.fromEntries(written)).toEqual(UNLOCK_TRANSITIONS);
  });

  it('names every error and who has to act on it', () => {
    expect(Object.fromEntries(rowsUnder('Errors') as [string, string][])).toEqual(UNLOCK_ERRORS);
  });
});
