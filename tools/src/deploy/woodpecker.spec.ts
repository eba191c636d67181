import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { Ajv2020 } from 'ajv/dist/2020.js';

import { WORKSPACE } from '../started-service.js';
import { documentOf } from './documents.js';
import { PIPELINE_SCHEMA } from './woodpecker-schema.js';

interface Step {
  readonly commands?: readonly string[];
  readonly when?: readonly { readonly event: readonly string[]; readonly branch: readonly string[] }[];
  readonly settings?: {
    readonly target: string;
    readonly dockerfile: string;
    readonly platforms: string;
    readonly repo: { readonly from_secret: string };
    readonly tags: readonly string[];
    readonly build_args: readonly string[];
  };
}

describe('The pipeline', () => {
  const read = (path: string): string => readFileSync(join(WORKSPACE, path), 'utf8');
  const pipeline = documentOf(join(WORKSPACE, '.woodpecker.yml')) as { readonly steps: Readonly<Record<string, Step>> };
  const isValid = new Ajv2020({ allErrors: true }).compile(PIPELINE_SCHEMA);
  const steps = Object.entries(pipeline.steps);
  const images = steps.flatMap(([, step]) => (step.settings === undefined ? [] : [{ ...step, ...step.settings }]));

  it('is as its schema says', () => {
    isValid(pipeline);
    expect(isValid.errors).toBeNull();
  });

  it.each<[string, (step: Record<string, unknown>) => void]>([
    ['a misspelt key', (step) => (step['comands'] = ['npm test'])],
    ['a step without an image', (step) => delete step['image']],
    ['an image without a version', (step) => (step['image'] = 'node')],
    ['neither commands nor settings', (step) => delete step['commands']],
  ])('would be refused with %s', (_what, change) => {
    const changed = structuredClone(pipeline);
    change((changed.steps as Record<string, Record<string, unknown>>)['check'] ?? {});
    expect(isValid(changed)).toBe(false);
  });

  it('does what the script of the CI does, in the same order', () => {
    const everywhere = steps.filter(([, { when }]) => when === undefined);
    const commands = everywhere.flatMap(([, step]) => step.commands ?? []);
    const script = read('.ci/run')
      .split('\n')
      .filter((line) => line.startsWith('npm '));
    expect(commands).toEqual(script);
  });

  it('runs commands that the workspace has', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const commands = steps.flatMap(([, step]) => step.commands ?? []);
    for (const command of commands) {
      const script = /^npm (?:run )?(\S+)$/.exec(command)?.[1] ?? '';
      expect(script === 'ci' || Object.hasOwn(scripts, script)).toBe(true);
    }
  });

  it('makes both images for both processors, of targets and arguments that the Dockerfile has, into repositories of their own', () => {
    expect(images.map(({ target }) => target).sort()).toEqual(['admin-api', 'loader']);
    expect(new Set(images.map(({ repo }) => repo.from_secret)).size).toBe(images.length);
    for (const { target, dockerfile, platforms, build_args: buildArguments } of images) {
      const text = read(dockerfile);
      expect(platforms.split(',').sort()).toEqual(['linux/amd64', 'linux/arm64']);
      expect(text).toMatch(new RegExp(`^FROM .* AS ${target}$`, 'm'));
      for (const argument of buildArguments)
        expect(text).toMatch(new RegExp(`^ARG ${argument.split('=')[0] ?? ''}\\b`, 'm'));
    }
  });

  it('pushes nothing that was not built and tried, and cannot be pushed where that has failed', () => {
    const names = Object.keys(pipeline.steps);
    const tried = pipeline.steps['images'];
    expect(tried?.commands).toContain('npm run test:images');
    for (const [name, { settings, when }] of steps)
      if (settings !== undefined) {
        expect(names.indexOf(name)).toBeGreaterThan(names.indexOf('images'));
        expect(when).toEqual(tried?.when);
      }
  });

  it('pushes from the branches that are deployed and no other, tagged by branch and by commit', () => {
    for (const { when, tags } of images) {
      expect(when?.map(({ branch }) => branch)).toEqual([['dev', 'stage', 'main']]);
      expect(when?.flatMap(({ event }) => event)).not.toContain('pull_request');
      expect(tags).toEqual(['${CI_COMMIT_BRANCH}', '${CI_COMMIT_BRANCH}-${CI_COMMIT_SHA:0:8}']);
    }
  });
});
