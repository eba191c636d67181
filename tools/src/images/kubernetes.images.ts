import { join } from 'node:path';

import { describeWith, runCommand } from '@azaion/testing';

import { settingAndFileNames } from '../docs/workspace-configuration.js';
import { WORKSPACE } from '../started-service.js';
import { documentsIn } from '../deploy/documents.js';
import { type KubernetesObject, problemsOf } from '../deploy/kubernetes-object.js';

const OVERLAYS = ['stage', 'production'] as const;

interface Probe {
  readonly httpGet: { readonly path: string };
}

interface Container {
  readonly image: string;
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly securityContext: object;
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
  readonly envFrom: readonly { readonly configMapRef: { readonly name: string } }[];
  readonly startupProbe: Probe;
  readonly livenessProbe: Probe;
  readonly readinessProbe: Probe;
}

interface Deployment extends KubernetesObject {
  readonly spec: {
    readonly replicas: number;
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly template: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> };
      readonly spec: {
        readonly securityContext: object;
        readonly serviceAccountName: string;
        readonly containers: readonly [Container];
        readonly volumes: readonly { readonly name: string }[];
      };
    };
  };
}

describeWith('kustomize', 'The Admin API on Kubernetes', () => {
  describe.each(OVERLAYS)('in %s', (overlay) => {
    let objects: KubernetesObject[];
    const one = (kind: string): KubernetesObject => {
      const found = objects.filter((object) => object.kind === kind);
      expect(found).toHaveLength(1);
      return found[0] as KubernetesObject;
    };

    beforeAll(async () => {
      const directory = join(WORKSPACE, 'deploy', 'kubernetes', 'overlays', overlay);
      objects = documentsIn(await runCommand('kubectl', ['kustomize', directory])) as KubernetesObject[];
    });

    it('holds what Kubernetes knows, and nothing else', async () => {
      expect(objects.map(({ kind }) => kind).sort()).toEqual([
        'ConfigMap',
        'Deployment',
        'Ingress',
        'Namespace',
        'NetworkPolicy',
        'PodDisruptionBudget',
        'Service',
        'ServiceAccount',
      ]);
      for (const object of objects) expect(await problemsOf(object)).toEqual([]);
    });

    it('lies in a namespace of its own, which refuses pods with more rights', () => {
      const namespace = one('Namespace');
      expect(namespace.metadata.labels).toMatchObject({ 'pod-security.kubernetes.io/enforce': 'restricted' });
      for (const object of objects)
        if (object.kind !== 'Namespace') expect(object.metadata.namespace).toBe(namespace.metadata.name);
    });

    it('runs several replicas as nobody, on files that they cannot change', () => {
      const { spec } = one('Deployment') as Deployment;
      expect(spec.replicas).toBeGreaterThanOrEqual(2);
      expect(spec.template.spec.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 65_532 });
      expect(spec.template.spec.containers[0].securityContext).toMatchObject({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
    });

    it('names only what is there: labels, ports, volumes, accounts, settings', () => {
      const { spec, metadata } = one('Deployment') as Deployment;
      const [container] = spec.template.spec.containers;
      const labels = spec.template.metadata.labels;
      expect(labels).toMatchObject(spec.selector.matchLabels);
      const { spec: service } = one('Service') as KubernetesObject & {
        spec: { selector: object; ports: readonly { targetPort: string }[] };
      };
      expect(labels).toMatchObject(service.selector);
      const selected = { selector: { matchLabels: labels }, podSelector: { matchLabels: labels } };
      expect((one('PodDisruptionBudget') as KubernetesObject & { spec: object }).spec).toMatchObject({
        selector: selected.selector,
      });
      expect((one('NetworkPolicy') as KubernetesObject & { spec: object }).spec).toMatchObject({
        podSelector: selected.podSelector,
      });
      expect(container.ports.map(({ name }) => name)).toEqual(service.ports.map(({ targetPort }) => targetPort));
      expect(container.volumeMounts.map(({ name }) => name).sort()).toEqual(
        spec.template.spec.volumes.map(({ name }) => name).sort(),
      );
      expect(spec.template.spec.serviceAccountName).toBe(one('ServiceAccount').metadata.name);
      expect(container.envFrom[0]?.configMapRef.name).toBe(one('ConfigMap').metadata.name);
      expect(JSON.stringify(one('Ingress'))).toContain(`"name":"${metadata.name}"`);
    });

    it('sets only what the Admin API knows, and secrets by their files alone', () => {
      const { data } = one('ConfigMap') as KubernetesObject & { data: Readonly<Record<string, string>> };
      const known = new Set(settingAndFileNames(WORKSPACE));
      for (const [name, value] of Object.entries(data)) {
        expect(known).toContain(name);
        expect(name.endsWith('_FILE')).toBe(value.startsWith('/secrets/'));
      }
      for (const needed of [
        'S3_ENDPOINT',
        'S3_BUCKET',
        'DATABASE_URL_FILE',
        'ADMIN_KEK_FILE',
        'STATEMENT_ROOT_KEY_FILE',
      ])
        expect(data).toHaveProperty(needed);
    });

    it('runs the image that the pipeline pushes from its branch', () => {
      const tag = overlay === 'production' ? 'main' : overlay;
      expect((one('Deployment') as Deployment).spec.template.spec.containers[0].image).toMatch(
        new RegExp(`/admin-api:${tag}$`),
      );
    });

    it('is asked where the service answers probes', () => {
      const [container] = (one('Deployment') as Deployment).spec.template.spec.containers;
      expect(container.startupProbe.httpGet.path).toBe('/health/startup');
      expect(container.livenessProbe.httpGet.path).toBe('/health/live');
      expect(container.readinessProbe.httpGet.path).toBe('/health/ready');
      expect(container.ports[0]?.containerPort).toBe(8080);
    });

    it('reaches names, the database and the object store, and nothing else', () => {
      const { spec } = one('NetworkPolicy') as KubernetesObject & {
        spec: { policyTypes: string[]; egress: readonly { ports: readonly { port: number }[] }[] };
      };
      expect(spec.policyTypes).toEqual(['Ingress', 'Egress']);
      expect(spec.egress.map(({ ports }) => ports.map(({ port }) => port))).toEqual([[53, 53], [5432], [443]]);
    });
  });
});
