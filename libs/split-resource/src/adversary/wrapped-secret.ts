import { type KeyPurpose, WRAP_PREFIX_BYTES } from '@azaion/crypto';
import { toHex } from '@azaion/kernel';

import { hkdf, type KeyTrial, type SealedTarget, tryKeys } from './key-trial.js';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const PREFIX_BYTES = 16;
const ID_INFO = Buffer.from('azaion-kek-id-v1\0');

/** A secret of the database that a KEK wrapped, and what it is: the harness has the KEK. */
export interface WrappedSecret {
  /** Different for each. */
  readonly where: string;
  readonly purpose: KeyPurpose;
  readonly wrapped: Uint8Array;
  readonly secret: Uint8Array;
}

/**
 * Tries every key as KEK on every wrapped secret. Each names its KEK by what only that KEK gives, so that one look tells all others; the
 * one is tried in earnest.
 */
export function tryKeks(keys: Iterable<Buffer>, wrapped: readonly WrappedSecret[]): KeyTrial {
  const targets = new Map<string, SealedTarget[]>();
  for (const secret of wrapped) {
    const id = toHex(secret.wrapped.subarray(1, WRAP_PREFIX_BYTES));
    targets.set(id, [...(targets.get(id) ?? []), wrappedTarget(secret)]);
  }
  const opened: string[] = [];
  let trials = 0;
  for (const key of keys) {
    trials += wrapped.length;
    const named = targets.get(toHex(hkdf(key, ID_INFO).subarray(0, WRAP_PREFIX_BYTES - 1)));
    if (named !== undefined) opened.push(...tryKeys([key], named).opened);
  }
  return { trials, opened };
}

/** Source: `KekRing` of the crypto lib says how secrets are wrapped. */
function wrappedTarget({ where, purpose, wrapped, secret }: WrappedSecret): SealedTarget {
  const ciphertextAt = WRAP_PREFIX_BYTES + NONCE_BYTES;
  return {
    where,
    nonce: wrapped.subarray(WRAP_PREFIX_BYTES, ciphertextAt),
    ciphertext: wrapped.subarray(ciphertextAt, wrapped.length - TAG_BYTES),
    knownPrefix: secret.subarray(0, PREFIX_BYTES),
    derivation: { by: 'hkdf', input: Buffer.from(`azaion-kek-wrap-v1\0${purpose}`) },
  };
}
