import type { EcdhP256, PublicJwk } from '@azaion/crypto';

/** What a device's keys are tied to. */
export type Binding = 'credentials' | 'hardware' | 'tpm';

/** The two P-256 key pairs that stand for a device. The private halves may be out of this process's reach. Source: docs/threat-model.md. */
export abstract class DeviceIdentity {
  abstract readonly binding: Binding;

  /** The agreement key's public half, a 65-byte SEC1 point: what grants are sealed to. */
  abstract agreementPoint(): Promise<Uint8Array>;

  /** The signing key's public half. */
  abstract signingKey(): Promise<PublicJwk>;

  /** Diffie-Hellman with the agreement key; refuses points that are not on the curve. @throws IdentityError `device.key-store`. */
  abstract readonly ecdh: EcdhP256;

  /** Signs with the signing key: ECDSA P-256 SHA-256, 64 bytes `r ‖ s` (RFC 7518 §3.4). @throws IdentityError `device.key-store`. */
  abstract sign(message: Uint8Array): Promise<Uint8Array>;
}
