import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';

import { concatBytes, equalBytes, fromBase64Url, toBase64Url, utf8 } from '@azaion/kernel';

import type { DeviceIdentity } from './device-identity.js';

const SALT = utf8('azaion-device-state-v1');
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const MAC_CHARS = 43; // base64url of 32 bytes

/** What a device keeps for itself; each has keys of its own. */
export type DeviceStatePurpose =
  'desired-images' | 'jwks' | 'lease-refusals' | 'local-key' | 'login-verifier' | 'statement-trust' | 'time-mark';

/**
 * Protects what a device keeps in its data directory with keys that only its identity can make: the Diffie-Hellman secret of its
 * agreement key with itself. Copied to another device, or changed, it is refused; an older copy of the whole directory is not noticed.
 */
export class DeviceStateKey {
  readonly #secret: Uint8Array;

  private constructor(secret: Uint8Array) {
    this.#secret = secret;
  }

  /** @throws IdentityError `device.key-store`. */
  static async of(identity: DeviceIdentity): Promise<DeviceStateKey> {
    return new DeviceStateKey(await identity.ecdh(await identity.agreementPoint()));
  }

  /** A text for people to read, with a line before it that shows any change (HMAC-SHA-256). */
  authenticate(purpose: DeviceStatePurpose, text: string): string {
    return `${this.mac(purpose, text)}\n${text}`;
  }

  /** What {@link authenticate} made; `undefined` when it was changed, or comes from another device or purpose. @param kept - Untrusted. */
  authentic(purpose: DeviceStatePurpose, kept: string): string | undefined {
    const text = kept.slice(MAC_CHARS + 1);
    const holds = equalBytes(utf8(kept.slice(0, MAC_CHARS + 1)), utf8(`${this.mac(purpose, text)}\n`));
    return holds ? text : undefined;
  }

  /** The MAC alone of a text: what is compared instead of a secret that must not be kept. */
  mac(purpose: DeviceStatePurpose, text: string): string {
    return createHmac('sha256', this.key(purpose, 'mac')).update(text).digest('base64url');
  }

  /** A secret text, sealed: `nonce ‖ AES-256-GCM ‖ tag` in base64url. */
  seal(purpose: DeviceStatePurpose, text: string): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.key(purpose, 'seal'), nonce);
    return toBase64Url(concatBytes(nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()));
  }

  /** What {@link seal} made; `undefined` when it was changed, or comes from another device or purpose. @param sealed - Untrusted. */
  unseal(purpose: DeviceStatePurpose, sealed: string): string | undefined {
    const bytes = fromBase64Url(sealed, sealed.length);
    if (bytes === undefined || bytes.length < NONCE_BYTES + TAG_BYTES) return undefined;
    const tagStart = bytes.length - TAG_BYTES;
    const decipher = createDecipheriv('aes-256-gcm', this.key(purpose, 'seal'), bytes.subarray(0, NONCE_BYTES));
    decipher.setAuthTag(bytes.subarray(tagStart));
    try {
      return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, tagStart)), decipher.final()]).toString();
    } catch {
      return undefined;
    }
  }

  private key(purpose: DeviceStatePurpose, use: 'mac' | 'seal'): Uint8Array {
    return new Uint8Array(hkdfSync('sha256', this.#secret, SALT, utf8(`${use}/${purpose}`), KEY_BYTES));
  }
}
