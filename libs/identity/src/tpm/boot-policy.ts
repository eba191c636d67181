import { hash } from 'node:crypto';

import { type PrivateJwk, type PublicJwk, signRaw, verifyRaw } from '@azaion/crypto';
import { concatBytes, fromBase64Url, isValidName, toBase64Url, u32be, utf8 } from '@azaion/kernel';

import { IdentityError } from '../errors.js';
import {
  parsePcrSelection,
  PCR_BYTES,
  pcrSelectionBytes,
  type PcrSelection,
  pcrSelectionText,
} from './pcr-selection.js';
import { TPM_ALG, TPM_CC } from './tpm-algorithms.js';
import { sizedBytes, tpmName, u16be, verificationKeyArea } from './tpm-public.js';

/** Index of the counter that tells which epochs are over. In the range of the TPM's owner. */
export const EPOCH_COUNTER_INDEX = 0x0150_0a2a;
/** Its attributes, once written: a counter, read and incremented without a password, no lockout counting. */
const COUNTER_ATTRIBUTES = 0x2206_0016;
const COUNTER_BYTES = 8;
const UNSIGNED_AT_MOST = 9; // TPM_EO_UNSIGNED_LE
const DIGEST_BYTES = 32;
const SIGNATURE_BYTES = 64;
/** Largest epoch: a device counts up to it one by one. */
export const MAX_EPOCH = 1_000_000;
/** Most policies in one file. */
export const MAX_BOOT_POLICIES = 256;

/** A boot state in which devices of one model may use their keys. */
export interface BootState {
  /** Which devices: a name of the fleet's choice. */
  readonly model: string;
  /** 1 and up. Once a device has gone to a later one, policies of earlier ones are dead on it. */
  readonly epoch: number;
  readonly pcrs: PcrSelection;
  /** SHA-256 over the values of the registers, in their order. */
  readonly pcrDigest: Uint8Array;
}

/** A boot state, signed by the fleet's policy key. */
export interface SignedBootPolicy extends BootState {
  /** ES256 over the policy's digest and the model's reference, as a TPM checks it. */
  readonly signature: Uint8Array;
}

/** SHA-256 over the values of registers, as `TPM2_PolicyPCR` and `TPM2_Quote` count it. */
export function pcrDigestOf(values: readonly Uint8Array[]): Uint8Array {
  return hash('sha256', concatBytes(...values), 'buffer');
}

/** What ties a policy to its model (`policyRef` of `TPM2_PolicyAuthorize`). */
export function policyReference(model: string): Uint8Array {
  return hash('sha256', utf8(`azaion-boot-policy-v1\0${model}`), 'buffer');
}

/** The epoch as `TPM2_PolicyNV` compares it with the counter. */
export function epochOperand(epoch: number): Uint8Array {
  return concatBytes(u32be(0), u32be(epoch));
}

/**
 * The digest of a boot state: `TPM2_PolicyPCR`, then `TPM2_PolicyNV` "counter at most epoch" (Part 3, 23.7 and 23.9). A TPM reaches it only
 * in that state.
 */
export function bootPolicyDigest(state: BootState): Uint8Array {
  const start = new Uint8Array(DIGEST_BYTES);
  const pcr = sha256(start, u32be(TPM_CC.policyPcr), pcrSelectionBytes(state.pcrs), state.pcrDigest);
  const comparison = sha256(epochOperand(state.epoch), u16be(0), u16be(UNSIGNED_AT_MOST));
  return sha256(pcr, u32be(TPM_CC.policyNv), comparison, epochCounterName());
}

/** The policy of a device's keys: whatever the policy key has signed for the model (`TPM2_PolicyAuthorize`, Part 3, 23.16). */
export function authorizedPolicyDigest(policyKey: PublicJwk, model: string): Uint8Array {
  const start = new Uint8Array(DIGEST_BYTES);
  const key = sha256(start, u32be(TPM_CC.policyAuthorize), tpmName(verificationKeyArea(policyKey)));
  return sha256(key, policyReference(model));
}

/** What the policy key signs. */
export function bootPolicyMessage(state: BootState): Uint8Array {
  return concatBytes(bootPolicyDigest(state), policyReference(state.model));
}

/** Signs a boot state with the fleet's policy key. @throws CryptoError `keys.invalid`. */
export function signBootPolicy(state: BootState, policyKey: PrivateJwk): SignedBootPolicy {
  return { ...state, signature: signRaw(policyKey, bootPolicyMessage(state)) };
}

/** Whether the policy key has signed this. @throws CryptoError `keys.invalid`. */
export function isSignedBootPolicy(policy: SignedBootPolicy, policyKey: PublicJwk): boolean {
  return verifyRaw(policyKey, bootPolicyMessage(policy), policy.signature);
}

/** The signature as `TPM2_VerifySignature` takes it (`TPMT_SIGNATURE`). */
export function tpmSignature(signature: Uint8Array): Uint8Array {
  const half = SIGNATURE_BYTES / 2;
  const parts = [signature.subarray(0, half), signature.subarray(half)];
  return concatBytes(u16be(TPM_ALG.ecdsa), u16be(TPM_ALG.sha256), ...parts.map(sizedBytes));
}

/** Policies as they stand in a file. */
export function bootPoliciesToJson(policies: readonly SignedBootPolicy[]): string {
  const entries = policies.map(({ model, epoch, pcrs, pcrDigest, signature }) => ({
    model,
    epoch,
    pcrs: pcrSelectionText(pcrs),
    pcrDigest: toBase64Url(pcrDigest),
    signature: toBase64Url(signature),
  }));
  return JSON.stringify({ bootPolicies: entries }, undefined, 2);
}

/**
 * Reads a file of policies. Their signatures are still unchecked.
 *
 * @param text - Untrusted.
 * @throws IdentityError `device.tpm-policy` when it is no such file.
 */
export function parseBootPolicies(text: string): readonly SignedBootPolicy[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw unreadable();
  }
  const entries = (value as { bootPolicies?: unknown } | null)?.bootPolicies;
  if (!Array.isArray(entries) || entries.length > MAX_BOOT_POLICIES) throw unreadable();
  return entries.map(parsePolicy);
}

function parsePolicy(entry: unknown): SignedBootPolicy {
  if (typeof entry !== 'object' || entry === null) throw unreadable();
  const { model, epoch, pcrs, pcrDigest, signature } = entry as Record<string, unknown>;
  const selection = typeof pcrs === 'string' ? parsePcrSelection(pcrs) : undefined;
  const digest = typeof pcrDigest === 'string' ? fromBase64Url(pcrDigest, PCR_BYTES) : undefined;
  const signed = typeof signature === 'string' ? fromBase64Url(signature, SIGNATURE_BYTES) : undefined;
  if (!isValidName(model) || !isEpoch(epoch) || selection === undefined) throw unreadable();
  if (digest?.length !== DIGEST_BYTES || signed?.length !== SIGNATURE_BYTES) throw unreadable();
  return { model, epoch, pcrs: selection, pcrDigest: digest, signature: signed };
}

/** Whether a value may be an epoch. */
export function isEpoch(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= MAX_EPOCH;
}

/** The name of the epoch counter, the same in every TPM (`TPMS_NV_PUBLIC`, Part 2, 13.5). */
export function epochCounterName(): Uint8Array {
  return tpmName(
    concatBytes(
      u32be(EPOCH_COUNTER_INDEX),
      u16be(TPM_ALG.sha256),
      u32be(COUNTER_ATTRIBUTES),
      u16be(0),
      u16be(COUNTER_BYTES),
    ),
  );
}

function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  return hash('sha256', concatBytes(...parts), 'buffer');
}

function unreadable(): IdentityError {
  return new IdentityError('device.tpm-policy', 'The file with the boot policies cannot be read: have it made anew.');
}
