// Lints the given paths, or everything. The layer rules need the Nx project graph: without it they are skipped with a
// notice and lint passes, so the graph is made first and the notice is a failure.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from './workspace.mjs';

/** @returns {Promise<number>} Exit status. */
export async function lint(paths = ['.']) {
  const directory = await mkdtemp(join(tmpdir(), 'azaion-graph-'));
  const graph = await run('nx', ['graph', `--file=${join(directory, 'graph.json')}`]);
  await rm(directory, { recursive: true });
  if (graph.status !== 0) return graph.status;
  const { status, output } = await run('eslint', ['--max-warnings=0', '--no-warn-ignored', ...paths]);
  if (!output.includes('No cached ProjectGraph')) return status;
  console.error('The layer rules were skipped: the project graph is missing.');
  return 1;
}

if (process.argv[1] === import.meta.filename) {
  process.exitCode = await lint(process.argv.length > 2 ? process.argv.slice(2) : ['.']);
}
