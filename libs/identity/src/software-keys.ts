import {
  type EcdhP256,
  generateP256KeyPair,
  isPrivateJwk,
  jwkFromPoint,
  pointFromJwk,
  type PrivateJwk,
  type PublicJwk,
  signRaw,
  softwareEcdh,
} from '@azaion/crypto';

import { type Binding, DeviceIdentity } from './device-identity.js';

/** The private keys of a device that are held in this process. A secret: they do not redact themselves. */
export interface SoftwareKeys {
  readonly agreement: PrivateJwk;
  readonly signing: PrivateJwk;
}

/** Two new key pairs. */
export async function generateSoftwareKeys(): Promise<SoftwareKeys> {
  const [agreement, signing] = await Promise.all([generateP256KeyPair(), generateP256KeyPair()]);
  return { agreement: agreement.privateJwk, signing: signing.privateJwk };
}

/** Whether a parsed JSON value is a pair of whole, different key pairs. */
export function isSoftwareKeys(value: unknown): value is SoftwareKeys {
  if (typeof value !== 'object' || value === null || Object.keys(value).sort().join() !== 'agreement,signing')
    return false;
  const { agreement, signing } = value as Record<string, unknown>;
  return isPrivateJwk(agreement) && isPrivateJwk(signing) && agreement.d !== signing.d;
}

/** A device identity over keys in memory; its subclasses say where they are kept. */
export class SoftwareDeviceIdentity extends DeviceIdentity {
  override readonly ecdh: EcdhP256;
  readonly #keys: SoftwareKeys;

  constructor(
    override readonly binding: Binding,
    keys: SoftwareKeys,
  ) {
    super();
    this.#keys = keys;
    this.ecdh = softwareEcdh(keys.agreement);
  }

  override agreementPoint(): Promise<Uint8Array> {
    return Promise.resolve(pointFromJwk(this.#keys.agreement));
  }

  override signingKey(): Promise<PublicJwk> {
    return Promise.resolve(jwkFromPoint(pointFromJwk(this.#keys.signing)));
  }

  override async sign(message: Uint8Array): Promise<Uint8Array> {
    return Promise.resolve(signRaw(this.#keys.signing, message));
  }
}
