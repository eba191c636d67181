/** One line of the summary. */
export interface DemoFigure {
  /** Key in the JSON object. */
  readonly key: string;
  readonly what: string;
  /** For machines. */
  readonly value: string | number | boolean;
  /** For people. */
  readonly figure: string;
  readonly ok: boolean;
}

/** Collects what the demo has shown. */
export class DemoReport {
  private readonly figures: DemoFigure[] = [];

  add(figure: DemoFigure): void {
    this.figures.push(figure);
  }

  /** Whether everything that was to be shown was shown. */
  get ok(): boolean {
    return this.figures.length > 0 && this.figures.every(({ ok }) => ok);
  }

  /** The summary as a table. */
  table(): string {
    const head = ['what', 'figure', ''];
    const rows = this.figures.map(({ what, figure, ok }) => [what, figure, ok ? 'ok' : 'FAILED']);
    const widths = [0, 1, 2].map((column) => Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0)));
    const line = (row: readonly string[]): string =>
      `│ ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' │ ')} │`;
    const rule = (left: string, middle: string, right: string): string =>
      `${left}${widths.map((width) => '─'.repeat(width + 2)).join(middle)}${right}`;
    return [rule('┌', '┬', '┐'), line(head), rule('├', '┼', '┤'), ...rows.map(line), rule('└', '┴', '┘')].join('\n');
  }

  /** The figures as one object. */
  json(): Readonly<Record<string, unknown>> {
    return {
      ok: this.ok,
      ...Object.fromEntries(this.figures.map(({ key, value }) => [key, value])),
      failed: this.figures.filter(({ ok }) => !ok).map(({ key }) => key),
    };
  }
}

/** A size for people: `10.3 MB`, decimal units. */
export function megabytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1_000_000) return `${(bytes / 1000).toFixed(1)} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/** A share for people: `1.2 %`. */
export function percent(part: number, whole: number): string {
  return `${whole === 0 ? '0' : ((part * 100) / whole).toFixed(part * 1000 < whole ? 2 : 1)} %`;
}
