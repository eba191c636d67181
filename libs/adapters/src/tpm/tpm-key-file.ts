import { readFile } from 'node:fs/promises';

import { isPublicJwk, type PublicJwk } from '@azaion/crypto';
import { replaceDurably } from '../file-store/replace-durably.js';
import { bootPoliciesToJson, IdentityError, parseBootPolicies, type SignedBootPolicy } from '@azaion/identity';
import { fromBase64Url, toBase64Url } from '@azaion/kernel';

const FORMAT = 1;
const MAX_FILE_CHARS = 64 * 1024;
const MAX_BLOB_BYTES = 2048;

/** A key of the TPM at rest: its public area and its private half, wrapped by a key that never leaves the TPM. */
export interface TpmKeyBlobs {
  /** `TPM2B_PUBLIC`. */
  readonly public: Uint8Array;
  /** `TPM2B_PRIVATE`. */
  readonly private: Uint8Array;
}

/** Everything that is kept of a device's keys. No secret in it is of use without the TPM. */
export interface TpmKeys {
  readonly agreement: TpmKeyBlobs;
  readonly signing: TpmKeyBlobs;
  /** Whoever holds its private half decides in which boot states the keys may be used. */
  readonly policyKey: PublicJwk;
  readonly policy: SignedBootPolicy;
  /** The TPM's word that it has checked the policy's signature (`TPMT_TK_VERIFIED`). */
  readonly ticket: Uint8Array;
}

/** @returns `undefined` when there is no such file. @throws IdentityError `device.key-store` when it is damaged. */
export async function readTpmKeys(path: string): Promise<TpmKeys | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new IdentityError('device.key-store', 'The file with the keys of the TPM cannot be read.', { cause: error });
  }
  const keys = text.length > MAX_FILE_CHARS ? undefined : parse(text);
  if (keys === undefined)
    throw new IdentityError(
      'device.key-store',
      'The file with the keys of the TPM is damaged: restore it, or remove it and have the device reset.',
    );
  return keys;
}

/** Replaces the file as a whole. */
export async function writeTpmKeys(path: string, keys: TpmKeys): Promise<void> {
  const blobs = (key: TpmKeyBlobs): object => ({ public: toBase64Url(key.public), private: toBase64Url(key.private) });
  const document = {
    format: FORMAT,
    agreement: blobs(keys.agreement),
    signing: blobs(keys.signing),
    policyKey: keys.policyKey,
    policy: JSON.parse(bootPoliciesToJson([keys.policy])) as object,
    ticket: toBase64Url(keys.ticket),
  };
  await replaceDurably(path, JSON.stringify(document));
}

function parse(text: string): TpmKeys | undefined {
  try {
    const { format, agreement, signing, policyKey, policy, ticket } = JSON.parse(text) as Record<string, unknown>;
    const [bootPolicy] = parseBootPolicies(JSON.stringify(policy));
    if (format !== FORMAT || bootPolicy === undefined || !isPublicJwk(policyKey)) return undefined;
    return {
      agreement: blobsOf(agreement),
      signing: blobsOf(signing),
      policyKey,
      policy: bootPolicy,
      ticket: bytesOf(ticket),
    };
  } catch {
    return undefined;
  }
}

function blobsOf(value: unknown): TpmKeyBlobs {
  const blobs = value as Record<string, unknown>;
  return { public: bytesOf(blobs['public']), private: bytesOf(blobs['private']) };
}

function bytesOf(value: unknown): Uint8Array {
  const bytes = typeof value === 'string' ? fromBase64Url(value, MAX_BLOB_BYTES) : undefined;
  if (bytes === undefined) throw new TypeError('not a blob');
  return bytes;
}
