import { concatBytes, u32be } from '@azaion/kernel';

import { TPM_ALG } from './tpm-algorithms.js';
import { u16be } from './tpm-public.js';

/** Registers of a PC Client TPM. */
const PCR_COUNT = 24;
const SELECT_BYTES = 3;
/** Length of a register of the SHA-256 bank. */
export const PCR_BYTES = 32;

/** Registers of the SHA-256 bank that a policy or quote covers, ascending. */
export type PcrSelection = readonly number[];

/**
 * Reads a selection as tpm2-tools write it, `sha256:0,2,4,7`.
 *
 * @returns `undefined` for another bank, an unknown register, one named twice, or none.
 */
export function parsePcrSelection(text: string): PcrSelection | undefined {
  const list = /^sha256:(\d{1,2}(?:,\d{1,2}){0,23})$/.exec(text)?.[1];
  const pcrs = list?.split(',').map(Number);
  if (pcrs === undefined || pcrs.some((pcr) => pcr >= PCR_COUNT) || new Set(pcrs).size !== pcrs.length)
    return undefined;
  return pcrs.sort((a, b) => a - b);
}

/** The selection as tpm2-tools read it. */
export function pcrSelectionText(pcrs: PcrSelection): string {
  return `sha256:${pcrs.join(',')}`;
}

/** `TPML_PCR_SELECTION` with this one bank. */
export function pcrSelectionBytes(pcrs: PcrSelection): Uint8Array {
  const bitmap = new Uint8Array(SELECT_BYTES);
  for (const pcr of pcrs) bitmap[pcr >> 3] = (bitmap[pcr >> 3] ?? 0) | (1 << (pcr & 7));
  return concatBytes(u32be(1), u16be(TPM_ALG.sha256), Uint8Array.of(SELECT_BYTES), bitmap);
}
