import { hash } from 'node:crypto';

const SALT = '#%@AzaionKey@%#---';

/**
 * The key string that every legacy resource is encrypted with. It is one constant for everybody and protects nothing: it is here so that
 * old resources stay readable. Source: docs/formats/legacy.md.
 */
export const LEGACY_RESOURCE_KEY = calcHash(`-${SALT}234sdfklgvhjbnn`);

/** Base64 of SHA-384 over the UTF-8 text: 64 characters. The hash of the legacy format. */
export function calcHash(text: string): string {
  return hash('sha384', text, 'base64');
}

/**
 * The legacy hash of a machine.
 *
 * @param fingerprint - `CPU: {model}. GPU: {model}. Memory: {KiB}. DriveSerial: {serial}`.
 */
export function legacyHardwareHash(fingerprint: string): string {
  return calcHash(`Azaion_${fingerprint}_%$$$)0_`);
}

/**
 * The key string under which the old API encrypts a small part for one caller.
 *
 * @param hardwareHash - {@link legacyHardwareHash} for servers that still bind to hardware; left out since the binding was retired.
 */
export function legacyApiKey(email: string, password: string, hardwareHash?: string): string {
  return calcHash([email, password, ...(hardwareHash === undefined ? [] : [hardwareHash]), SALT].join('-'));
}

/** The 32-byte AES key of a key string. */
export function legacyAesKey(keyString: string): Buffer {
  return hash('sha256', keyString, 'buffer');
}

/**
 * The 32-byte AES key of an image archive.
 *
 * @param keyFragment - The raw bytes that the old API serves at `/binary-split/key-fragment`.
 */
export function legacyArchiveKey(keyFragment: Uint8Array): Buffer {
  return hash('sha256', keyFragment, 'buffer');
}
