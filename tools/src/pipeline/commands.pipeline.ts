import { join } from 'node:path';

import { runCommand, type TempDirectory, tempDirectory } from '@azaion/testing';

import { documentOf } from '../deploy/documents.js';
import { WORKSPACE } from '../started-service.js';

const STEP_TIMEOUT_MS = 60 * 60_000;
/** All tests take an hour and more: those of one small project show that a command works. */
const SELECTED: Readonly<Record<string, string>> = {
  'npm test': 'libs/kernel',
  'npm run test:docs': '-t install-the-cli',
  'npm run test:images': 'kubernetes.images',
};

interface Step {
  readonly environment?: Readonly<Record<string, string>>;
  readonly commands?: readonly string[];
}

describe('The pipeline’s commands, in a fresh clone', () => {
  const { steps } = documentOf(join(WORKSPACE, '.woodpecker.yml')) as {
    readonly steps: Readonly<Record<string, Step>>;
  };
  const own = Object.entries(steps).flatMap(([name, { commands, environment = {} }]) =>
    commands === undefined ? [] : [{ name, commands, environment }],
  );
  let directory: TempDirectory;

  beforeAll(async () => {
    directory = await tempDirectory('azaion-pipeline');
    // Not "--depth": a worktree can be cloned only as a whole.
    await runCommand('git', ['clone', '--quiet', WORKSPACE, join(directory.path, 'clone')]);
  });
  afterAll(() => directory.remove());

  it('has steps of its own', () => {
    expect(own.map(({ name }) => name)).toEqual(['check', 'test', 'documents', 'images']);
  });

  // One after the other, as the pipeline does: a step builds on what those before it left.
  it.each(own)('of the step $name succeed', async ({ commands, environment }) => {
    for (const command of commands) {
      const selected = command in SELECTED ? `${command} -- ${SELECTED[command]}` : command;
      const variables = Object.entries({ NODE_OPTIONS: '', ...environment }).map(([key, value]) => `${key}=${value}`);
      await runCommand(
        'env',
        // All that it says is the explanation of a failure.
        ['--chdir', join(directory.path, 'clone'), ...variables, 'sh', '-ec', `exec >&2; ${selected}`],
        STEP_TIMEOUT_MS,
      );
    }
  });
});
