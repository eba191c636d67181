import { execFile } from 'node:child_process';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { tempDirectory } from '@azaion/testing';

const run = promisify(execFile);
const DEMO = join(import.meta.dirname, '..', '..', 'dist', 'demo.js');

/** What `npm start -- --exit --json` prints as its last line. */
interface DemoFigures {
  readonly ok: boolean;
  readonly failed: readonly string[];
  readonly model_bytes: number;
  readonly model_uploaded_bytes: number;
  readonly update_uploaded_bytes: number;
  readonly unlock: boolean;
  readonly [figure: string]: unknown;
}

describe('the demo', () => {
  it('shows the whole system, twice on the same data: neither store alone opens anything, the controls do', async () => {
    const directory = await tempDirectory('azaion-demo');
    try {
      await chmod(directory.path, 0o755); // as root, PostgreSQL runs as another user
      for (const attempt of ['first', 'second']) {
        const { stdout } = await run(
          process.execPath,
          [DEMO, '--exit', '--json', '--data', join(directory.path, 'data')],
          { env: { ...process.env, NODE_OPTIONS: undefined }, maxBuffer: 16 * 1024 * 1024 },
        );
        const figures = JSON.parse(stdout.trimEnd().split('\n').at(-1)!) as DemoFigures;
        expect({ attempt, ok: figures.ok, failed: figures.failed }).toEqual({ attempt, ok: true, failed: [] });
        expect(figures.unlock).toBe(true);
        expect(figures.model_bytes).toBeGreaterThan(10_000_000);
        expect(figures.update_uploaded_bytes).toBeLessThan(figures.model_bytes / 10);
        const recovered = (kind: string): unknown[] =>
          Object.entries(figures).flatMap(([key, value]) =>
            key.startsWith(kind) && key.endsWith('_recovered') ? [value] : [],
          );
        expect(recovered('attack_')).toEqual([0, 0, 0, 0]);
        expect(recovered('control_')).toHaveLength(2);
        for (const count of recovered('control_')) expect(count).toBeGreaterThan(0);
      }
    } finally {
      await directory.remove();
    }
  });
});
