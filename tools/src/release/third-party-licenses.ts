import type { DeliveredPackage } from './delivered-package.js';

/** Licences under which others' code may be delivered in a closed product: they ask for being named, and for nothing else. */
const PERMISSIVE = new Set([
  '0BSD',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'CC0-1.0',
  'ISC',
  'MIT',
  'MIT-0',
  'Python-2.0',
  'Unlicense',
]);

/**
 * The text that is delivered with an app: who made what is in it, and under which licence.
 *
 * @throws Error naming the packages whose licence asks for more than being named; what to do about them is a person's decision.
 */
export function thirdPartyLicenses(packages: readonly DeliveredPackage[]): string {
  const others = packages.filter(({ license }) => !isPermissive(license));
  if (others.length > 0)
    throw new Error(
      `Not to be delivered under their licences: ${others.map(({ name, version, license }) => `${name}@${version} (${license})`).join(', ')}.`,
    );
  const sections = packages.map(({ name, version, license, licenseText }) =>
    [`${name} ${version}`, `Licence: ${license}`, '', licenseText || 'The package brings no text of its licence.'].join(
      '\n',
    ),
  );
  return `This product holds the following packages.\n\n${sections.join(`\n\n${'-'.repeat(80)}\n\n`)}\n`;
}

/** Of alternatives one is enough; of what holds together, all must be permissive. */
function isPermissive(expression: string): boolean {
  return expression
    .replaceAll(/[()]/g, '')
    .split(' OR ')
    .some((alternative) => alternative.split(' AND ').every((license) => PERMISSIVE.has(license.trim())));
}
