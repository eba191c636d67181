import { MAX_CHUNK_BYTES } from '@azaion/crypto';
import { equalBytes } from '@azaion/kernel';
import { decode, encode } from 'cborg';

import { ResourceError } from '../errors.js';
import {
  FORMAT_VERSION,
  MAX_CHUNK_SEGMENTS,
  MAX_PACK_SEGMENTS,
  MAX_ROOT_BYTES,
  MAX_TOTAL_BYTES,
  RECORDS_PER_SEGMENT,
} from './limits.js';

/** What the root of a recipe says. Source: docs/formats/sealed-resource.md, "Root". */
export interface RecipeRoot {
  /** How the publisher cut. For information: a reader never needs it, apart from the bound on a chunk's length. */
  readonly chunking: {
    readonly algorithm: string;
    readonly minBytes: number;
    readonly averageBytes: number;
    readonly maxBytes: number;
  };
  /** Length of the plaintext. */
  readonly totalBytes: number;
  /** SHA-256 of the whole plaintext as the publisher asserts it, 32 bytes. */
  readonly sha256: Uint8Array;
  readonly chunks: number;
  readonly packs: number;
  /** SHA-256 of each sealed chunk segment. */
  readonly chunkSegmentHashes: readonly Uint8Array[];
  /** SHA-256 of each sealed pack segment. */
  readonly packSegmentHashes: readonly Uint8Array[];
  /** Plaintext bytes that each chunk segment covers, so that a range is found without reading the segments before it. */
  readonly chunkSegmentBytes: readonly number[];
}

const DECODING = {
  useMaps: true,
  strict: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowInfinity: false,
  allowNaN: false,
  allowBigInt: false,
  rejectDuplicateMapKeys: true,
};

/** The deterministic CBOR of a root (RFC 8949 §4.2.1). */
export function encodeRoot(root: RecipeRoot): Uint8Array {
  const { algorithm, minBytes, averageBytes, maxBytes } = root.chunking;
  return encode(
    new Map<number, unknown>([
      [1, FORMAT_VERSION],
      [2, [algorithm, minBytes, averageBytes, maxBytes]],
      [3, root.totalBytes],
      [4, root.sha256],
      [5, root.chunks],
      [6, root.packs],
      [7, root.chunkSegmentHashes],
      [8, root.packSegmentHashes],
      [9, root.chunkSegmentBytes],
    ]),
  );
}

/**
 * Reads a root.
 *
 * @param bytes - Opened, so authentic, but written by a publisher: everything is checked.
 * @throws ResourceError `resource.unsupported-format` for another format version; `recipe.invalid` for everything else, non-canonical forms and trailing bytes included.
 */
export function decodeRoot(bytes: Uint8Array): RecipeRoot {
  if (bytes.length > MAX_ROOT_BYTES) throw invalidRoot('is too long');
  const map = decodeMap(bytes);
  const version = map.get(1);
  if (version !== FORMAT_VERSION) {
    if (!isCount(version, 0xffff_ffff)) throw invalidRoot('has no format version');
    throw new ResourceError(
      'resource.unsupported-format',
      `This resource uses format version ${version}; this release reads version ${FORMAT_VERSION}. Update to a release that reads version ${version}.`,
      { details: { formatVersion: version, supportedVersion: FORMAT_VERSION } },
    );
  }
  const root: RecipeRoot = {
    chunking: chunkingOf(map.get(2)),
    totalBytes: countOf(map.get(3), MAX_TOTAL_BYTES),
    sha256: digestOf(map.get(4)),
    chunks: countOf(map.get(5), MAX_CHUNK_SEGMENTS * RECORDS_PER_SEGMENT),
    packs: countOf(map.get(6), MAX_PACK_SEGMENTS * RECORDS_PER_SEGMENT),
    chunkSegmentHashes: listOf(map.get(7), MAX_CHUNK_SEGMENTS, digestOf),
    packSegmentHashes: listOf(map.get(8), MAX_PACK_SEGMENTS, digestOf),
    chunkSegmentBytes: listOf(map.get(9), MAX_CHUNK_SEGMENTS, (length) => countOf(length, MAX_TOTAL_BYTES)),
  };
  // Written again from what was read: further members, another order and longer forms of a number show.
  if (!equalBytes(encodeRoot(root), bytes)) throw invalidRoot('is not in its canonical form');
  assertConsistent(root);
  return root;
}

function decodeMap(bytes: Uint8Array): ReadonlyMap<unknown, unknown> {
  let decoded: unknown;
  try {
    decoded = decode(bytes, DECODING);
  } catch (cause) {
    throw invalidRoot('is not deterministic CBOR', cause);
  }
  if (!(decoded instanceof Map)) throw invalidRoot('is not a map');
  return decoded;
}

function assertConsistent(root: RecipeRoot): void {
  const { chunks, packs, totalBytes } = root;
  const covered = root.chunkSegmentBytes.reduce((sum, length) => sum + length, 0);
  const consistent =
    root.chunkSegmentHashes.length === Math.ceil(chunks / RECORDS_PER_SEGMENT) &&
    root.chunkSegmentBytes.length === root.chunkSegmentHashes.length &&
    root.packSegmentHashes.length === Math.ceil(packs / RECORDS_PER_SEGMENT) &&
    covered === totalBytes &&
    chunks <= totalBytes &&
    totalBytes <= chunks * root.chunking.maxBytes &&
    packs <= chunks &&
    (packs === 0) === (chunks === 0);
  if (!consistent) throw invalidRoot('contradicts itself');
}

function chunkingOf(value: unknown): RecipeRoot['chunking'] {
  const [algorithm, min, average, max, ...rest] = Array.isArray(value) ? (value as unknown[]) : [];
  if (typeof algorithm !== 'string' || !/^[a-z0-9-]{1,64}$/.test(algorithm) || rest.length > 0)
    throw invalidRoot('has bad chunking parameters');
  const chunking = {
    algorithm,
    minBytes: countOf(min, MAX_CHUNK_BYTES),
    averageBytes: countOf(average, MAX_CHUNK_BYTES),
    maxBytes: countOf(max, MAX_CHUNK_BYTES),
  };
  if (chunking.minBytes < 1 || chunking.averageBytes < chunking.minBytes || chunking.maxBytes < chunking.averageBytes)
    throw invalidRoot('has bad chunking parameters');
  return chunking;
}

function listOf<Item>(value: unknown, most: number, itemOf: (item: unknown) => Item): readonly Item[] {
  if (!Array.isArray(value) || value.length > most) throw invalidRoot('has a bad list');
  return value.map(itemOf);
}

function digestOf(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array) || value.length !== 32) throw invalidRoot('has a bad digest');
  return value;
}

function countOf(value: unknown, most: number): number {
  if (!isCount(value, most)) throw invalidRoot('has a number out of bounds');
  return value;
}

function isCount(value: unknown, most: number): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= most;
}

function invalidRoot(problem: string, cause?: unknown): ResourceError {
  return new ResourceError(
    'recipe.invalid',
    `The root of the recipe ${problem}.`,
    cause === undefined ? {} : { cause },
  );
}
