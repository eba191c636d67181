import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

import { settingAndFileNames } from '../docs/workspace-configuration.js';
import { WORKSPACE } from '../started-service.js';
import { type Kustomization, SECRETS, settingsIn } from './admin-deployment.js';
import { documentOf, documentsIn } from './documents.js';
import { type KubernetesObject, problemsOf } from './kubernetes-object.js';

describe('problemsOf', () => {
  const service = (changes: object = {}, port: object = {}): KubernetesObject =>
    ({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'thing', labels: { any: 'text' } },
      spec: { selector: { app: 'thing' }, ports: [{ port: 80, targetPort: 'http', ...port }] },
      ...changes,
    }) as KubernetesObject;

  it('finds nothing wrong with an object as it should be', async () => {
    expect(await problemsOf(service())).toEqual([]);
  });

  it.each<[string, KubernetesObject, string]>([
    ['at the top', service({ specs: {} }), 'Service.specs is not known'],
    ['deep inside', service({}, { targetport: 1 }), 'Service.spec.ports.0.targetport is not known'],
  ])('finds a field that the schema does not know, %s', async (_where, object, problem) => {
    expect(await problemsOf(object)).toEqual([problem]);
  });

  it('finds a field of the wrong type, and one that is missing', async () => {
    expect(await problemsOf(service({}, { port: 'eighty' }))).toEqual([expect.stringContaining('integer')]);
    expect(await problemsOf(service({}, { port: undefined }))).toEqual([expect.stringContaining('port')]);
  });

  it.each(['Sevice', 'index'])('refuses what is no kind: %s', async (kind) => {
    await expect(problemsOf({ ...service(), kind })).rejects.toThrow(`Kubernetes has no ${kind}`);
  });
});

describe('The files for Kubernetes', () => {
  const root = join(WORKSPACE, 'deploy', 'kubernetes');
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.yaml'));
  const kustomizations = files.filter((name) => name.endsWith('kustomization.yaml'));
  const contentOf = (name: string): Kustomization => documentOf(join(root, name)) as Kustomization;
  const named = (name: string, entries: readonly string[]): readonly string[] =>
    entries.map((entry) => relative(root, join(root, dirname(name), entry)));

  it('are a base and two overlays, of which nothing is left out', () => {
    expect([...kustomizations].sort()).toEqual([
      'base/kustomization.yaml',
      'overlays/production/kustomization.yaml',
      'overlays/stage/kustomization.yaml',
    ]);
    const used = kustomizations.flatMap((name) => {
      const { resources, patches = [] } = contentOf(name);
      return named(name, [...resources, ...patches.map(({ path }) => path)]);
    });
    for (const path of used) expect(existsSync(join(root, path))).toBe(true);
    expect(files.filter((name) => !kustomizations.includes(name) && !used.includes(name))).toEqual([]);
  });

  it('set only what the Admin API knows, and secrets by their files alone', () => {
    const known = new Set(settingAndFileNames(WORKSPACE));
    for (const name of kustomizations)
      for (const [setting, value] of Object.entries(settingsIn(join(root, name)))) {
        expect(known).toContain(setting);
        expect(setting.endsWith('_FILE')).toBe(value.startsWith(`${SECRETS}/`));
      }
  });

  it('hold objects as Kubernetes knows them', async () => {
    const objects = kustomizations.flatMap((name) =>
      named(name, contentOf(name).resources).filter((path) => path.endsWith('.yaml')),
    );
    expect(objects.length).toBeGreaterThan(5);
    for (const path of objects)
      for (const object of documentsIn(readFileSync(join(root, path), 'utf8')) as KubernetesObject[])
        expect({ path, problems: await problemsOf(object) }).toEqual({ path, problems: [] });
  });
});
