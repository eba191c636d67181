import { type BillComponent, type BillOfMaterials, uuidOf } from './bill-of-materials.js';
import type { DebianPackage } from './debian-packages.js';
import { foreignProgram } from './foreign-programs.js';

/** What is in an image beside the product. */
export interface ImageParts {
  readonly packages: readonly DebianPackage[];
  /** Versions of programs that come from elsewhere, by their names. */
  readonly versions: Readonly<Record<string, string>>;
}

/**
 * The bill of materials of an image: that of the product in it, with Debian's packages and the programs that come from elsewhere. Licences of Debian's
 * packages are texts, not names: they lie in the image under `/usr/share/doc`.
 *
 * @throws Error for a program of which nobody has written down where it comes from.
 */
export function imageBill(bill: BillOfMaterials, { packages, versions }: ImageParts): BillOfMaterials {
  const parts = [...Object.entries(versions).map(programComponent), ...packages.map(packageComponent)];
  const components = [...bill.components, ...parts];
  const root = bill.metadata.component['bom-ref'];
  const refs = parts.map((part) => part['bom-ref']);
  return {
    ...bill,
    serialNumber: `urn:uuid:${uuidOf(JSON.stringify([root, components]))}`,
    components,
    dependencies: [
      ...bill.dependencies.map((one) => (one.ref === root ? { ...one, dependsOn: [...one.dependsOn, ...refs] } : one)),
      ...refs.map((ref) => ({ ref, dependsOn: [] })),
    ],
  };
}

function programComponent([name, version]: readonly [string, string]): BillComponent {
  const { purl: origin, license } = foreignProgram(name);
  const purl = `${origin}@${encodeURIComponent(version)}`;
  return { type: 'application', 'bom-ref': purl, name, version, purl, licenses: [{ license: { id: license } }] };
}

function packageComponent({ name, version, architecture }: DebianPackage): BillComponent {
  const purl = `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}`;
  return { type: 'library', 'bom-ref': purl, name, version, purl };
}
