import type { EcdhP256 } from '@azaion/crypto';

/** Whose key a grant is sealed to: a device's agreement key, or a person's ephemeral one. */
export interface Recipient {
  /** 65-byte SEC1 point. */
  readonly point: Uint8Array;
  readonly ecdh: EcdhP256;
  /** The device's serial; `undefined` for a person. */
  readonly serial: string | undefined;
}
