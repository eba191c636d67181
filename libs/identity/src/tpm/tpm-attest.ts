import { malformed, TpmReader } from './tpm-reader.js';

const GENERATED = 0xff54_4347; // "\xffTCG": the TPM itself made this
const MAX_ATTEST_BYTES = 2048;
const MAX_NAME_BYTES = 68;
const MAX_DIGEST_BYTES = 64;
const MAX_SELECTIONS = 16;
const MAX_SELECT_BYTES = 32;
const KINDS = new Map([
  [0x8017, 'certify'],
  [0x8018, 'quote'],
] as const);

/** What a TPM states about itself, once its signature was checked (`TPMS_ATTEST`). */
export interface TpmStatement {
  /** What the asker gave it to bind it to. */
  readonly extraData: Uint8Array;
  readonly attested:
    | { readonly kind: 'certify'; readonly name: Uint8Array }
    | { readonly kind: 'quote'; readonly pcrSelection: Uint8Array; readonly pcrDigest: Uint8Array };
}

/**
 * Reads a statement of a TPM. It proves nothing before its signature was checked over the same bytes.
 *
 * @param bytes - Untrusted.
 * @throws IdentityError `attestation.malformed`, also for statements of other kinds and those that no TPM made.
 */
export function parseTpmStatement(bytes: Uint8Array): TpmStatement {
  if (bytes.length > MAX_ATTEST_BYTES) throw malformed();
  const reader = new TpmReader(bytes);
  if (reader.u32() !== GENERATED) throw malformed();
  const kind = KINDS.get(reader.u16() as 0x8017 | 0x8018);
  if (kind === undefined) throw malformed();
  reader.sized(MAX_NAME_BYTES); // qualified name of the signer
  const extraData = reader.sized(MAX_DIGEST_BYTES);
  reader.bytes(17); // clock, counts of resets and restarts, whether the clock is safe
  reader.bytes(8); // firmware
  const attested = kind === 'certify' ? certified(reader) : quoted(reader);
  reader.end();
  return { extraData, attested };
}

function certified(reader: TpmReader): TpmStatement['attested'] {
  const name = reader.sized(MAX_NAME_BYTES);
  reader.sized(MAX_NAME_BYTES); // qualified name
  return { kind: 'certify', name };
}

function quoted(reader: TpmReader): TpmStatement['attested'] {
  const start = reader.consumed;
  const count = reader.u32();
  if (count > MAX_SELECTIONS) throw malformed();
  for (let at = 0; at < count; at += 1) {
    reader.u16();
    const selectBytes = reader.u8();
    if (selectBytes > MAX_SELECT_BYTES) throw malformed();
    reader.bytes(selectBytes);
  }
  const pcrSelection = reader.since(start);
  return { kind: 'quote', pcrSelection: pcrSelection, pcrDigest: reader.sized(MAX_DIGEST_BYTES) };
}
