import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { runCommand } from '@azaion/testing';

import { COMMAND_PAGES } from './command-pages.js';
import { type ShellBlock, shellBlocks, transcriptEntries } from './shell-blocks.js';

const WORKSPACE = join(import.meta.dirname, '..', '..', '..');

describe('commands of the documents', () => {
  const excepted = async (): Promise<readonly (ShellBlock & { readonly page: string })[]> => {
    const found = await Promise.all(
      COMMAND_PAGES.map(async (page) => {
        const blocks = shellBlocks(await readFile(join(WORKSPACE, page), 'utf8'));
        return blocks.filter(({ notRun }) => notRun !== undefined).map((block) => ({ ...block, page }));
      }),
    );
    return found.flat();
  };

  it('are run but for a few, and each of these says why', async () => {
    expect((await excepted()).map(({ page, notRun }) => `${page}: ${notRun ?? ''}`)).toMatchInlineSnapshot(`
      [
        "README.md: demo.e2e.ts runs the demo",
        "README.md: it runs these tests",
        "docs/tutorial.md: needs images in a container engine; the test writes such an archive itself",
        "docs/how-to/install-the-cli.md: packed-cli.e2e.ts packs and installs it",
        "docs/how-to/publish-from-ci.md: needs images in a container engine",
        "docs/how-to/move-from-the-older-system.md: adoption.spec.ts does it",
        "docs/how-to/move-from-the-older-system.md: adoption.spec.ts does it",
        "docs/how-to/provision-a-device.md: \`npm run test:images\` starts this file on an engine of its own",
        "docs/how-to/provision-a-device.md: \`npm run test:images\` starts the unit in a machine of its own",
        "docs/how-to/provision-a-jetson.md: needs the TPM of a device; suites run the same against one in software",
        "docs/how-to/provision-a-jetson.md: needs the TPM of a device",
        "docs/how-to/backup.md: backup.spec.ts does it",
        "docs/how-to/run-in-a-cluster.md: needs a cluster; the manifests are checked by a test",
        "docs/how-to/run-in-a-cluster.md: needs a cluster",
      ]
    `);
  });

  it('are what bash can read, also those that are not run', async () => {
    for (const page of COMMAND_PAGES) {
      const blocks = shellBlocks(await readFile(join(WORKSPACE, page), 'utf8')).map(({ kind, text }) =>
        kind === 'console' ? transcriptEntries(text).map(({ command }) => command) : [text],
      );
      await expect(runCommand('bash', ['-nc', blocks.flat().join('\n')])).resolves.toBeDefined();
    }
  });

  it('are excepted, with a reason, on every page that is not listed', async () => {
    const documents = (await readdir(join(WORKSPACE, 'docs'), { recursive: true }))
      .filter((path) => path.endsWith('.md'))
      .map((path) => `docs/${path}`);
    const others = [...documents, 'CONTRIBUTING.md', 'SECURITY.md'].filter(
      (path) => !(COMMAND_PAGES as readonly string[]).includes(path),
    );
    for (const page of others) {
      const blocks = shellBlocks(await readFile(join(WORKSPACE, page), 'utf8'));
      expect({ page, blocks: blocks.filter(({ notRun }) => notRun === undefined) }).toEqual({ page, blocks: [] });
    }
  });

  it('of npm are scripts that there are', async () => {
    const { scripts } = JSON.parse(await readFile(join(WORKSPACE, 'package.json'), 'utf8')) as { scripts: object };
    const documents = (await readdir(join(WORKSPACE, 'docs'), { recursive: true })).filter((path) =>
      path.endsWith('.md'),
    );
    const texts = await Promise.all(
      [
        ...documents.map((path) => join('docs', path)),
        'README.md',
        'CONTRIBUTING.md',
        'SECURITY.md',
        'CHANGELOG.md',
      ].map((path) => readFile(join(WORKSPACE, path), 'utf8')),
    );
    const named = new Set(
      texts.flatMap((text) => [...text.matchAll(/npm run ([a-z:-]+)/g)].map(([, name = '']) => name)),
    );
    expect([...named].filter((name) => !Object.hasOwn(scripts, name))).toEqual([]);
  });
});
