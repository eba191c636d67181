import { dirname, join } from 'node:path';

import { documentOf } from './documents.js';
import type { ProbedContainer } from './kubelet.js';

/** The Admin API as the files for Kubernetes describe it. */
export interface AdminDeployment {
  readonly container: ProbedContainer;
  /** Its environment, the overlay's settings over those of the base. */
  readonly settings: Readonly<Record<string, string>>;
}

/** What the base or an overlay is made of, as far as it names files and settings. */
export interface Kustomization {
  readonly resources: readonly string[];
  readonly patches?: readonly { readonly path: string }[];
  readonly configMapGenerator: readonly { readonly literals: readonly string[] }[];
}

/** Where secrets are mounted. */
export const SECRETS = '/secrets';

/** Reads the base and one overlay of `deploy/kubernetes`. No probe is changed by an overlay: rendering them is another test's. */
export function adminDeployment(workspace: string, overlay: string): AdminDeployment {
  const base = join(workspace, 'deploy', 'kubernetes', 'base');
  const { spec } = documentOf(join(base, 'deployment.yaml')) as {
    readonly spec: { readonly template: { readonly spec: { readonly containers: readonly [ProbedContainer] } } };
  };
  return {
    container: spec.template.spec.containers[0],
    settings: {
      ...settingsIn(join(base, 'kustomization.yaml')),
      ...settingsIn(join(dirname(base), 'overlays', overlay, 'kustomization.yaml')),
    },
  };
}

/** The settings that a kustomization makes a map of, by name. */
export function settingsIn(path: string): Readonly<Record<string, string>> {
  const { configMapGenerator } = documentOf(path) as Kustomization;
  const literals = configMapGenerator.flatMap((generator) => generator.literals);
  return Object.fromEntries(
    literals.map((literal) => [literal.split('=', 1)[0] ?? '', literal.slice(literal.indexOf('=') + 1)]),
  );
}
