import { printsAsTold, shellBlocks, transcriptEntries } from './shell-blocks.js';

const fence = '```';

describe('shellBlocks', () => {
  it('finds what a shell can run, in its order, without indentation', () => {
    const page = [
      '# Title',
      '<!-- setup:',
      'mkdir a',
      '-->',
      '1. First',
      `   ${fence}sh`,
      '   cd a',
      '     ls',
      `   ${fence}`,
      `${fence}json`,
      '{}',
      fence,
      `${fence}console`,
      '$ ls',
      'x',
      fence,
    ].join('\n');
    expect(shellBlocks(page)).toEqual([
      { line: 3, kind: 'setup', text: 'mkdir a' },
      { line: 7, kind: 'sh', text: 'cd a\n  ls' },
      { line: 14, kind: 'console', text: '$ ls\nx' },
    ]);
  });

  it('excepts the next block alone, with a reason', () => {
    const page = `<!-- not run: needs a TPM -->\n\n${fence}sh\na\n${fence}\n${fence}sh\nb\n${fence}`;
    expect(shellBlocks(page).map(({ text, notRun }) => [text, notRun])).toEqual([
      ['a', 'needs a TPM'],
      ['b', undefined],
    ]);
  });

  it.each([
    ['a block that does not end', `${fence}sh\na`, /does not end/],
    ['a block without a language', `${fence}\na\n${fence}`, /written in/],
    ['an exception without a reason', `<!-- not run: -->\n${fence}sh\na\n${fence}`, /say why/],
  ])('refuses %s', (_what, page, message) => {
    expect(() => shellBlocks(page)).toThrow(message);
  });
});

describe('transcriptEntries', () => {
  it('tells commands from what they print, also over several lines', () => {
    expect(transcriptEntries('$ a \\\n  b\nprinted\nmore\n$ c\n$ d\nx')).toEqual([
      { command: 'a \\\n  b', printed: 'printed\nmore' },
      { command: 'c', printed: '' },
      { command: 'd', printed: 'x' },
    ]);
  });
});

describe('printsAsTold', () => {
  it.each([
    ['a (b)', 'a (b)\n', true],
    ['a', 'b', false],
    ['a', 'a\nb', false],
    ['took … s', 'took 1.25 s', true],
    ['took … s', 'took 1.25\n s', false],
    ['a\n…\nz', 'a\nb\nc\nz', true],
    ['a\n…\nz', 'a\nz', false],
    ['', '', true],
  ])('of %j against %j is %s', (told, printed, expected) => {
    expect(printsAsTold(told, printed)).toBe(expected);
  });
});
