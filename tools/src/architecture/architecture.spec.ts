import { execFileSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../../..');
const ENVIRONMENT = {
  ...process.env,
  NX_DAEMON: 'false',
  NODE_OPTIONS: '',
  PATH: `${join(ROOT, 'node_modules/.bin')}:${process.env['PATH'] ?? ''}`,
};
const execute = (command: string, args: string[], input = ''): string =>
  execFileSync(command, args, { cwd: ROOT, env: ENVIRONMENT, input, stdio: ['pipe', 'pipe', 'inherit'] }).toString();

interface Manifest {
  name: string;
  dependencies?: Record<string, string>;
}
interface Project {
  directory: string;
  manifest: Manifest;
}

const projects: Project[] = globSync('{apps/*,libs/*,tools}/package.json', { cwd: ROOT }).map((path) => ({
  directory: dirname(path),
  manifest: JSON.parse(readFileSync(join(ROOT, path), 'utf8')) as Manifest,
}));

describe('a planted violation of the layers', () => {
  const LAYERS = '@nx/enforce-module-boundaries';
  const planted: [what: string, path: string, text: string, rule: string][] = [
    ['kernel uses a domain lib', 'libs/kernel/src/planted.ts', "import '@azaion/crypto';", LAYERS],
    ['domain uses Nest', 'libs/crypto/src/planted.ts', "import '@nestjs/common';", LAYERS],
    ['domain uses an AWS SDK', 'libs/split-resource/src/planted.ts', "import '@aws-sdk/client-s3';", LAYERS],
    ['domain uses an adapter', 'libs/unlock/src/planted.ts', "import '@azaion/adapters/s3';", LAYERS],
    ['domain reads files', 'libs/identity/src/planted.ts', "import 'node:fs';", 'no-restricted-imports'],
    ['domain starts processes', 'libs/unlock/src/planted.ts', "import 'node:child_process';", 'no-restricted-imports'],
    ['domain code uses the testing layer', 'libs/crypto/src/planted.ts', "import '@azaion/testing';", LAYERS],
    ['adapter uses Nest', 'libs/adapters/src/s3/planted.ts', "import '@nestjs/common';", LAYERS],
    ['adapter uses an app', 'libs/adapters/src/s3/planted.ts', "import '../../../../apps/loader/src/main.js';", LAYERS],
    ['framework uses an adapter', 'libs/nest-support/src/planted.ts', "import '@azaion/adapters/s3';", LAYERS],
    ['testing uses a domain lib', 'libs/testing/src/planted.ts', "import '@azaion/crypto';", LAYERS],
    ['a lib reaches into another', 'libs/unlock/src/planted.ts', "import '../../kernel/src/bytes.js';", LAYERS],
    ['a lib exports everything', 'libs/kernel/src/planted.ts', "export * from './bytes.js';", 'no-restricted-syntax'],
  ];
  const allowed: [what: string, path: string, text: string][] = [
    ['domain uses kernel', 'libs/crypto/src/planted.ts', "import '@azaion/kernel';"],
    ['domain uses node:crypto', 'libs/crypto/src/planted.ts', "import 'node:crypto';"],
    ['a spec uses the testing layer', 'libs/crypto/src/planted.spec.ts', "import '@azaion/testing';"],
    ['an app uses an adapter', 'apps/loader/src/planted.ts', "import '@azaion/adapters/s3';"],
  ];
  let refusals: string[][];

  beforeAll(() => {
    // Without the project graph the layer rules would be skipped in silence.
    const directory = mkdtempSync(join(tmpdir(), 'azaion-graph-'));
    execute('nx', ['graph', `--file=${join(directory, 'graph.json')}`]);
    rmSync(directory, { recursive: true });
    const sources = [...planted, ...allowed].map(([, path, text]) => ({ path, text }));
    const answer = execute('node', ['tools/scripts/lint-text.mjs'], JSON.stringify(sources));
    refusals = (JSON.parse(answer) as { ruleId: string }[][]).map((messages) => messages.map(({ ruleId }) => ruleId));
  }, 180_000);

  it.each(planted.map(([what, path, , rule], index) => ({ what, path, rule, index })))(
    'is refused: $what ($path)',
    ({ rule, index }) => {
      expect(refusals[index]).toContain(rule);
    },
  );

  it.each(allowed.map(([what, path], index) => ({ what, path, index: planted.length + index })))(
    'is not seen where there is none: $what ($path)',
    ({ index }) => {
      expect(refusals[index]).toEqual([]);
    },
  );
});

describe('imports between projects', () => {
  /** Projects of the workspace that a source imports. */
  const siblings = (text: string): Set<string> =>
    new Set([...text.matchAll(/(?:from|import)\s*\(?\s*'(@azaion\/[a-z-]+)/g)].map(([, name]) => name!));
  const undeclared = (project: Project, path: string, text: string): string[] => {
    const declared = new Set([project.manifest.name, ...Object.keys(project.manifest.dependencies ?? {})]);
    if (/\.(spec|e2e)\.ts$|\/testing\//.test(path)) declared.add('@azaion/testing');
    return [...siblings(text)].filter((name) => !declared.has(name)).map((name) => `${path} imports ${name}`);
  };
  // This file holds violations as text.
  const sources = (project: Project): string[] =>
    globSync(`${project.directory}/src/**/*.ts`, { cwd: ROOT }).filter(
      (path) => join(ROOT, path) !== import.meta.filename,
    );
  const references = (project: Project): string[] => {
    const { references: listed = [] } = JSON.parse(
      readFileSync(join(ROOT, project.directory, 'tsconfig.json'), 'utf8'),
    ) as { references?: { path: string }[] };
    return listed.map(
      ({ path }) =>
        projects.find(({ directory }) => resolve(ROOT, project.directory, path) === resolve(ROOT, directory))?.manifest
          .name ?? path,
    );
  };

  it('finds a planted import of a sibling that is not declared', () => {
    const crypto = projects.find(({ manifest }) => manifest.name === '@azaion/crypto')!;
    const text = "import { type X } from '@azaion/unlock';\nconst y = await import('@azaion/identity/testing');";
    expect(undeclared(crypto, 'libs/crypto/src/planted.ts', text)).toEqual([
      'libs/crypto/src/planted.ts imports @azaion/unlock',
      'libs/crypto/src/planted.ts imports @azaion/identity',
    ]);
  });

  it.each(projects.map((project) => ({ project, name: project.manifest.name })))(
    'are declared in the package.json and referenced by the tsconfig.json of $name',
    ({ project }) => {
      const files = sources(project).map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }));
      expect(files.flatMap(({ path, text }) => undeclared(project, path, text))).toEqual([]);
      const referenced = references(project);
      const compiled = files.filter(({ path }) => !/\.(spec|e2e|crash|images)\.ts$/.test(path));
      const imported = new Set(compiled.flatMap(({ text }) => [...siblings(text)]));
      imported.delete(project.manifest.name);
      expect([...imported].filter((name) => !referenced.includes(name))).toEqual([]);
    },
  );
});
