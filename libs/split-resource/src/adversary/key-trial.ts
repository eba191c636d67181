import { createCipheriv, createDecipheriv, hash } from 'node:crypto';

import { toHex } from '@azaion/kernel';

/** Something sealed with AES-256-GCM that keys are tried on. What it holds is known to the harness, so that success is noticed at once. */
export interface SealedTarget {
  readonly where: string;
  /** 12 bytes. */
  readonly nonce: Uint8Array;
  /** Without the tag; at least 16 bytes. */
  readonly ciphertext: Uint8Array;
  /** The first bytes of what is sealed, 16 at most. */
  readonly knownPrefix: Uint8Array;
  /** How the key comes from a candidate; `undefined`: it is the candidate itself. */
  readonly derivation: KeyDerivation | undefined;
}

/** HKDF-SHA-256 without salt and with this `info`; or HMAC-SHA-256 of this message, which gives this key when it is the right candidate. */
export type KeyDerivation =
  | { readonly by: 'hkdf'; readonly input: Uint8Array }
  | { readonly by: 'hmac'; readonly input: Uint8Array; readonly gives: Uint8Array };

/** What trying keys came to. */
export interface KeyTrial {
  /** Pairs of key and target that were tried. */
  readonly trials: number;
  /** Targets that a key opened. */
  readonly opened: readonly string[];
}

const BLOCK_BYTES = 16;
const HASH_BLOCK_BYTES = 64;

/**
 * Tries every key on every target. GCM encrypts in counter mode, so that one block tells; the tag, for which more would have to be known,
 * is not needed by somebody who only wants to read.
 */
export function tryKeys(keys: Iterable<Buffer>, targets: readonly SealedTarget[]): KeyTrial {
  const groups = groupByDerivation(targets);
  const opened = new Set<string>();
  let trials = 0;
  const extracts = groups.some(({ derivation }) => derivation?.by === 'hkdf');
  for (const key of keys) {
    const extracted = extracts ? hmac(NO_SALT, key) : key;
    for (const group of groups) {
      const { derivation } = group;
      if (derivation?.by === 'hmac') {
        trials += 1;
        if (hmac(key, derivation.input).equals(derivation.gives))
          group.targets.forEach(({ where }) => opened.add(where));
        continue;
      }
      const derived = derivation === undefined ? key : expand(extracted, derivation.input);
      const cipher = createCipheriv('aes-256-ecb', derived, null).setAutoPadding(false);
      const stream = cipher.update(group.counters);
      trials += group.targets.length;
      for (let at = 0; at < group.targets.length; at += 1) {
        if (stream.readInt32LE(at * BLOCK_BYTES) !== group.expected[at]) continue;
        const target = group.targets[at];
        if (target !== undefined && startsAsKnown(target, derived)) opened.add(target.where);
      }
    }
  }
  return { trials, opened: [...opened] };
}

const NO_SALT = new Uint8Array(32);

/** HKDF-SHA-256 (RFC 5869) without salt, for one block. */
export function hkdf(key: Uint8Array, info: Uint8Array): Buffer {
  return expand(hmac(NO_SALT, key), info);
}

/** The second step of HKDF (RFC 5869) for one block: `hkdfSync` would repeat the first step for each `info`. */
function expand(extracted: Uint8Array, info: Uint8Array): Buffer {
  return hmac(extracted, Buffer.concat([info, Uint8Array.of(1)]));
}

/** HMAC-SHA-256 (RFC 2104) of a 32-byte key, from one-shot hashes: `createHmac` costs many times the hashing itself. */
function hmac(key: Uint8Array, message: Uint8Array): Buffer {
  const inner = Buffer.alloc(HASH_BLOCK_BYTES + message.length, 0x36);
  const outer = Buffer.alloc(HASH_BLOCK_BYTES + key.length, 0x5c);
  for (const [at, byte] of key.entries()) {
    inner[at] = byte ^ 0x36;
    outer[at] = byte ^ 0x5c;
  }
  inner.set(message, HASH_BLOCK_BYTES);
  hash('sha256', inner, 'buffer').copy(outer, HASH_BLOCK_BYTES);
  return hash('sha256', outer, 'buffer');
}

interface TargetGroup {
  readonly derivation: KeyDerivation | undefined;
  readonly targets: readonly SealedTarget[];
  /** The first counter block of each target. */
  readonly counters: Buffer;
  /** The first four bytes that the key stream must have. */
  readonly expected: Int32Array;
}

function groupByDerivation(targets: readonly SealedTarget[]): TargetGroup[] {
  const groups = new Map<string, SealedTarget[]>();
  for (const target of targets) {
    const name = target.derivation === undefined ? '' : `${target.derivation.by} ${toHex(target.derivation.input)}`;
    const group = groups.get(name) ?? [];
    group.push(target);
    groups.set(name, group);
  }
  return [...groups.values()].map((group) => ({
    derivation: group[0]?.derivation,
    targets: group,
    counters: Buffer.concat(group.flatMap(({ nonce }) => [nonce, Uint8Array.of(0, 0, 0, 2)])),
    expected: Int32Array.from(
      group,
      ({ ciphertext, knownPrefix }) => Buffer.from(ciphertext).readInt32LE(0) ^ Buffer.from(knownPrefix).readInt32LE(0),
    ),
  }));
}

function startsAsKnown({ nonce, ciphertext, knownPrefix }: SealedTarget, key: Uint8Array): boolean {
  const counter = Buffer.concat([nonce, Uint8Array.of(0, 0, 0, 2)]);
  const start = createDecipheriv('aes-256-ctr', key, counter).update(ciphertext.subarray(0, BLOCK_BYTES));
  return start.subarray(0, knownPrefix.length).equals(knownPrefix);
}
