import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const WORKSPACE = join(import.meta.dirname, '..', '..', '..');

/** Rows of the table in docs/acceptance.md: flow, promise, file, title. */
function promises(): { readonly file: string; readonly title: string }[] {
  return readFileSync(join(WORKSPACE, 'docs', 'acceptance.md'), 'utf8')
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .filter((cells) => /\.(?:spec|e2e)\.ts$/.test(cells[3] ?? ''))
    .map((cells) => ({ file: cells[3]!, title: cells[4]! }));
}

describe('docs/acceptance.md', () => {
  it('has a row for each of the six flows', () => {
    const text = readFileSync(join(WORKSPACE, 'docs', 'acceptance.md'), 'utf8');
    for (const flow of ['F1', 'F2', 'F3', 'F4', 'F5', 'F6']) expect(text).toContain(`| ${flow} |`);
  });

  it.each(promises())('names a test that exists: $file › $title', ({ file, title }) => {
    const source = readFileSync(join(WORKSPACE, file), 'utf8');
    expect(source.replaceAll("\\'", "'")).toContain(title);
  });
});
