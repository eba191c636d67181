/** A piece of a page that a shell can run. */
export interface ShellBlock {
  /** Where its first command stands, from 1. */
  readonly line: number;
  /** `sh`: commands. `console`: commands behind `$ ` with what they print. `setup`: commands that a reader does not see. */
  readonly kind: 'sh' | 'console' | 'setup';
  readonly text: string;
  /** Why it is not run. */
  readonly notRun?: string;
}

/** A command of a transcript with what the page says that it prints. */
export interface TranscriptEntry {
  readonly command: string;
  readonly printed: string;
}

const FENCE = /^(\s*)```(\w*)\s*$/;
const SHELLS: ReadonlySet<string> = new Set(['sh', 'bash', 'shell', 'console']);

/**
 * The commands of a page, in their order: fenced blocks marked `sh` or `console`, and comments `<!-- setup: … -->` that bring about what the page
 * takes for granted. A comment `<!-- not run: why -->` in front of a block excepts it.
 *
 * @throws Error for a block that is not closed, one without a language, and an exception without a reason.
 */
export function shellBlocks(page: string): readonly ShellBlock[] {
  const lines = page.split('\n');
  const blocks: ShellBlock[] = [];
  let notRun: string | undefined;
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at] ?? '';
    const exception = /^\s*<!-- not run:(.*)-->\s*$/.exec(line);
    if (exception !== null) {
      notRun = exception[1]?.trim();
      if (notRun === undefined || notRun === '') throw new Error(`Line ${at + 1}: say why the block is not run.`);
      continue;
    }
    if (/^\s*<!-- setup:\s*$/.test(line)) {
      const end = closing(lines, at, /^\s*-->\s*$/);
      blocks.push({ line: at + 2, kind: 'setup', text: lines.slice(at + 1, end).join('\n') });
      at = end;
      continue;
    }
    const fence = FENCE.exec(line);
    if (fence === null) {
      if (line.trim() !== '') notRun = undefined;
      continue;
    }
    const [, indent = '', language = ''] = fence;
    if (language === '') throw new Error(`Line ${at + 1}: the block does not say what it is written in.`);
    const end = closing(lines, at, /^\s*```\s*$/);
    if (SHELLS.has(language)) {
      const text = lines.slice(at + 1, end).map((each) => (each.startsWith(indent) ? each.slice(indent.length) : each));
      blocks.push({
        line: at + 2,
        kind: language === 'console' ? 'console' : 'sh',
        text: text.join('\n'),
        ...(notRun === undefined ? {} : { notRun }),
      });
    }
    notRun = undefined;
    at = end;
  }
  return blocks;
}

/** The commands of a `console` block, each with its output. */
export function transcriptEntries(text: string): readonly TranscriptEntry[] {
  return text
    .split(/^\$ /m)
    .slice(1)
    .map((entry) => {
      const lines = entry.replace(/\n+$/, '').split('\n');
      const last = lines.findIndex((line) => !line.endsWith('\\'));
      return { command: lines.slice(0, last + 1).join('\n'), printed: lines.slice(last + 1).join('\n') };
    });
}

/** Whether output is what a page says; `…` there stands for anything within a line, on a line of its own for any lines. */
export function printsAsTold(told: string, printed: string): boolean {
  const pattern = told
    .split('\n')
    .map((line) =>
      line.trim() === '…'
        ? '(?:.*\\n)*?.*'
        : line
            .split('…')
            .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
            .join('.*?'),
    )
    .join('\\n');
  return new RegExp(`^${pattern}$`).test(printed.replace(/\s+$/, ''));
}

function closing(lines: readonly string[], from: number, end: RegExp): number {
  const at = lines.findIndex((line, index) => index > from && end.test(line));
  if (at < 0) throw new Error(`Line ${from + 1}: the block does not end.`);
  return at;
}
