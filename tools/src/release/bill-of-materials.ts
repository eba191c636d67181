import { createHash } from 'node:crypto';

import type { DeliveredPackage } from './delivered-package.js';

/** A bill of materials in CycloneDX 1.6, as far as it is used here. */
export interface BillOfMaterials {
  readonly bomFormat: 'CycloneDX';
  readonly specVersion: '1.6';
  readonly serialNumber: string;
  readonly version: 1;
  readonly metadata: { readonly component: BillComponent };
  readonly components: readonly BillComponent[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

/** A part of the product, or the product itself. */
export interface BillComponent {
  readonly type: 'application' | 'library';
  readonly 'bom-ref': string;
  readonly name: string;
  readonly version: string;
  readonly purl?: string;
  readonly licenses?: readonly ({ readonly license: { readonly id: string } } | { readonly expression: string })[];
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
}

/**
 * Lists what an app is made of, as https://cyclonedx.org/docs/1.6/json/ describes it. It says nothing about when or where it was made: the same packages
 * give the same bill.
 */
export function billOfMaterials(
  app: { readonly name: string; readonly version: string },
  packages: readonly DeliveredPackage[],
): BillOfMaterials {
  const root = `${app.name}@${app.version}`;
  const components = packages.map(componentOf);
  const refs = new Map(packages.map(({ name }, index) => [name, components[index]?.['bom-ref'] ?? name]));
  const content = JSON.stringify([root, components]);
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${uuidOf(content)}`,
    version: 1,
    metadata: { component: { type: 'application', 'bom-ref': root, name: app.name, version: app.version } },
    components,
    dependencies: [
      { ref: root, dependsOn: components.map((component) => component['bom-ref']) },
      ...packages.map(({ needs }, index) => ({
        ref: components[index]?.['bom-ref'] ?? root,
        dependsOn: needs.map((need) => refs.get(need) ?? need),
      })),
    ],
  };
}

function componentOf({ name, version, license, integrity }: DeliveredPackage): BillComponent {
  const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
  const digest = integrity?.startsWith('sha512-') === true ? integrity.slice('sha512-'.length) : undefined;
  return {
    type: 'library',
    'bom-ref': purl,
    name,
    version,
    purl,
    licenses: [license.includes(' ') ? { expression: license } : { license: { id: license } }],
    ...(digest === undefined
      ? {}
      : { hashes: [{ alg: 'SHA-512', content: Buffer.from(digest, 'base64').toString('hex') }] }),
  };
}

/** A UUID of version 8 (RFC 9562): made of the content, so that it changes with it and with nothing else. */
export function uuidOf(content: string): string {
  const bytes = createHash('sha256').update(content).digest().subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
