import { IdentityError } from '../errors.js';

/**
 * Reads a structure of the TPM from untrusted bytes, in the TPM's own order (big-endian). Every length is checked against what is there
 * before it is used. Source: TCG TPM 2.0 Library, Part 2.
 */
export class TpmReader {
  private at = 0;
  private readonly view: DataView;

  constructor(private readonly source: Uint8Array) {
    this.view = new DataView(source.buffer, source.byteOffset, source.byteLength);
  }

  /** An unsigned 8-bit integer. @throws IdentityError `attestation.malformed`. */
  u8(): number {
    return this.view.getUint8(this.advance(1));
  }

  /** An unsigned 16-bit integer. @throws IdentityError `attestation.malformed`. */
  u16(): number {
    return this.view.getUint16(this.advance(2));
  }

  /** An unsigned 32-bit integer. @throws IdentityError `attestation.malformed`. */
  u32(): number {
    return this.view.getUint32(this.advance(4));
  }

  /** A copy of the next bytes. @throws IdentityError `attestation.malformed`. */
  bytes(length: number): Uint8Array {
    const start = this.advance(length);
    return this.source.slice(start, start + length);
  }

  /** A `TPM2B`: its length, then that many bytes. @throws IdentityError `attestation.malformed` also when it is longer than `mostBytes`. */
  sized(mostBytes: number): Uint8Array {
    const length = this.u16();
    if (length > mostBytes) throw malformed();
    return this.bytes(length);
  }

  /** How many bytes have been read. */
  get consumed(): number {
    return this.at;
  }

  /** A copy of what was read since then. */
  since(start: number): Uint8Array {
    return this.source.slice(start, this.at);
  }

  /** Checks that nothing is left. @throws IdentityError `attestation.malformed`. */
  end(): void {
    if (this.at !== this.source.length) throw malformed();
  }

  private advance(length: number): number {
    const start = this.at;
    if (start + length > this.source.length) throw malformed();
    this.at = start + length;
    return start;
  }
}

/** The refusal of bytes that are no structure of a TPM, or one that is not served here. */
export function malformed(): IdentityError {
  return new IdentityError('attestation.malformed', 'The evidence of the TPM cannot be read.');
}
