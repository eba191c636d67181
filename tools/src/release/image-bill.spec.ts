import { Spec, Validation } from '@cyclonedx/cyclonedx-library';

import { billOfMaterials } from './bill-of-materials.js';
import { imageBill } from './image-bill.js';

const PRODUCT = billOfMaterials({ name: '@azaion/loader', version: '1.2.3' }, []);
const LIBRARY = { name: 'libstdc++6', version: '12.2.0-14+deb12u1', architecture: 'arm64', stanza: '' };

describe('imageBill', () => {
  it('adds packages and programs to the product, in a form that CycloneDX accepts', async () => {
    const bill = imageBill(PRODUCT, { packages: [LIBRARY], versions: { node: '24.0.0', docker: '28.2.2' } });
    expect(await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(JSON.stringify(bill))).toBeNull();
    expect(bill.components.map(({ purl }) => purl)).toEqual([
      'pkg:generic/node@24.0.0',
      'pkg:golang/github.com/docker/cli@28.2.2',
      'pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=arm64',
    ]);
    expect(bill.dependencies[0]?.dependsOn).toEqual(bill.components.map((component) => component['bom-ref']));
  });

  it('has another serial number when anything in the image is another', () => {
    const serials = ['24.0.0', '24.0.1'].map(
      (node) => imageBill(PRODUCT, { packages: [], versions: { node } }).serialNumber,
    );
    expect(new Set([PRODUCT.serialNumber, ...serials]).size).toBe(3);
  });

  it('refuses a program of which nobody knows where it comes from', () => {
    expect(() => imageBill(PRODUCT, { packages: [], versions: { mystery: '1' } })).toThrow('"mystery"');
  });
});
