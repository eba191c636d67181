import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { WORKSPACE } from '../started-service.js';
import { testTitles } from './test-titles.js';

const ACCEPTANCE = readFileSync(join(WORKSPACE, 'docs', 'acceptance.md'), 'utf8');

/** Rows of the table in docs/acceptance.md: flow, promise, file, title. */
const PROMISES = ACCEPTANCE.split('\n')
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .flatMap(([, , , file = '', title = '']) => (file.endsWith('.ts') ? [{ file, title }] : []));

describe('docs/acceptance.md', () => {
  it('has a row for each of the six flows', () => {
    for (const flow of ['F1', 'F2', 'F3', 'F4', 'F5', 'F6']) expect(ACCEPTANCE).toContain(`| ${flow} |`);
  });

  it.each(PROMISES)('names a test that exists: $file › $title', ({ file, title }) => {
    expect(testTitles(readFileSync(join(WORKSPACE, file), 'utf8'))).toContain(title);
  });
});

describe('testTitles', () => {
  it.each([
    ["it('runs', () => {});", ['runs']],
    ["test('runs', () => {});", ['runs']],
    ["describe('a suite', () => { it('runs', () => {}); });", ['a suite', 'runs']],
    ["describeWith('ceph', 'a suite', () => {});", ['a suite']],
    ["it.each([1, 2])('runs with %i', () => {});", ['runs with %i']],
    ["it.each`a\n${1}`('runs with $a', () => {});", ['runs with $a']],
    ['it(`runs with ${name}`, () => {});', ['runs with ${name}']],
    ["it('isn\\'t shy', () => {});", ["isn't shy"]],
  ])('finds what is run: %s', (source, titles) => {
    expect([...testTitles(source)]).toEqual(titles);
  });

  it.each([
    "// it('runs', () => {});",
    "/* it('runs', () => {}); */",
    'const text = "it(\'runs\', () => {});";',
    "it.skip('runs', () => {});",
    "it.todo('runs');",
    "it.skip.each([1])('runs', () => {});",
    "describe.skip('a suite', () => { it('runs', () => {}); });",
    "audit('runs', () => {});",
  ])('finds nothing that is not: %s', (source) => {
    expect([...testTitles(source)]).toEqual([]);
  });
});
