import { hash } from 'node:crypto';

import { openChunk, SEGMENT_KINDS, type SegmentKind } from '@azaion/crypto';
import type { PackId, PackRef } from '../pack.js';
import { RECORDS_PER_SEGMENT } from '../recipe/limits.js';
import type { RecipePlace } from '../recipe/recipe-place.js';
import { Recipe } from '../recipe/recipe.js';

import type { SealedTarget } from './key-trial.js';
import type { StoredBytes } from './stored-bytes.js';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const CODEC_BYTES = 1;
const PREFIX_BYTES = 16;
const ZSTD_MAGIC = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd);

/** One version as the Admin API's database holds it, with its recipe key unwrapped: what somebody with the KEK has. */
export interface StoredVersion {
  readonly place: RecipePlace;
  /** Hexadecimal. */
  readonly rootHash: string;
  readonly recipeKey: Uint8Array;
  readonly segment: (kind: SegmentKind, index: number) => Uint8Array;
}

/** A chunk that was opened, and what the recipe says of it. */
export interface OpenedChunk {
  /** SHA-256 of the plaintext. */
  readonly h: Uint8Array;
  readonly key: Uint8Array;
  readonly plaintext: Uint8Array;
}

/** What both stores and the KEK together give. */
export interface OpenedVersion {
  readonly bytes: number;
  readonly plaintext: Buffer;
  /** Of the plaintext, hexadecimal. */
  readonly sha256: string;
  /** The opened recipe: what the database and the KEK give without the CDN. */
  readonly recipe: readonly StoredBytes[];
  /** The same, chunk by chunk, beside what each chunk holds. */
  readonly chunks: readonly OpenedChunk[];
  /** Every sealed chunk, with what it is known to hold; of each dedup domain one more, for who guesses its content. */
  readonly chunkTargets: readonly SealedTarget[];
  /** Every sealed part of the recipe, likewise. */
  readonly segmentTargets: readonly SealedTarget[];
}

/** Opens a version with everything there is: the control that shows that the harness could read if it had the keys. */
export async function openWithEverything(
  version: StoredVersion,
  packBytes: (pack: PackId) => Promise<Buffer>,
): Promise<OpenedVersion> {
  const { place, rootHash, recipeKey } = version;
  const read = (kind: SegmentKind, index: number): Promise<Uint8Array> => Promise.resolve(version.segment(kind, index));
  const recipe = await Recipe.open(place, recipeKey, read, rootHash);
  const where = `${place.resourceId} version ${place.version}`;
  const opened: StoredBytes[] = [];
  const segmentTargets: SealedTarget[] = [];
  const noteSegment = (kind: SegmentKind, index: number, content: Uint8Array): void => {
    opened.push({ where: `${where}, ${kind} ${index}`, bytes: content });
    segmentTargets.push(segmentTarget(kind, index, version.segment(kind, index), content, where));
  };

  const packs: { readonly ref: PackRef; readonly bytes: Buffer }[] = [];
  for (let index = 0; index < recipe.root.packSegmentHashes.length; index += 1) {
    const segment = await recipe.packSegment(index);
    noteSegment('packs', index, segment.bytes);
    for (let record = 0; record < segment.count; record += 1) {
      const ref = segment.pack(record);
      packs.push({ ref, bytes: await packBytes(ref.packId) });
    }
  }

  const plaintext: Buffer[] = [];
  const chunks: OpenedChunk[] = [];
  const chunkTargets: SealedTarget[] = [];
  const domains = new Set<number>();
  for (let index = 0; index < recipe.root.chunkSegmentHashes.length; index += 1) {
    const segment = await recipe.chunkSegment(index);
    noteSegment('chunks', index, segment.bytes);
    for (let record = 0; record < segment.count; record += 1) {
      const pack = packs[segment.packIndex(record)];
      if (pack === undefined) throw new RangeError('the recipe names a pack that it does not list');
      const offset = segment.offset(record);
      const sealed = pack.bytes.subarray(offset, offset + segment.sealedBytes(record));
      const { h, key } = segment.secrets(record);
      const chunk = openChunk(sealed, segment.secrets(record));
      plaintext.push(chunk);
      chunks.push({ h, key, plaintext: chunk });
      const number = index * RECORDS_PER_SEGMENT + record;
      const target = chunkTarget(sealed, chunk, `${where}, chunk ${number}`);
      chunkTargets.push(target);
      if (domains.has(segment.domain(record))) continue;
      domains.add(segment.domain(record));
      chunkTargets.push(guessedTarget(target, h, key));
    }
  }
  const whole = Buffer.concat(plaintext);
  return {
    bytes: whole.length,
    plaintext: whole,
    sha256: hash('sha256', whole, 'hex'),
    recipe: opened,
    chunks,
    chunkTargets,
    segmentTargets,
  };
}

function chunkTarget(sealed: Uint8Array, plaintext: Uint8Array, where: string): SealedTarget {
  const from = CODEC_BYTES + NONCE_BYTES;
  return {
    where,
    nonce: sealed.subarray(CODEC_BYTES, from),
    ciphertext: sealed.subarray(from, sealed.length - TAG_BYTES),
    knownPrefix: sealed[0] === 0 ? plaintext.subarray(0, PREFIX_BYTES) : ZSTD_MAGIC,
    derivation: undefined,
  };
}

/** The same for somebody who guesses what the chunk holds: the key of a dedup domain then opens it. */
function guessedTarget(target: SealedTarget, h: Uint8Array, key: Uint8Array): SealedTarget {
  const input = Buffer.concat([Buffer.from('azaion-v2-key\0'), h]);
  return { ...target, where: `${target.where}, its content guessed`, derivation: { by: 'hmac', input, gives: key } };
}

function segmentTarget(
  kind: SegmentKind,
  index: number,
  sealed: Uint8Array,
  content: Uint8Array,
  where: string,
): SealedTarget {
  const info = Buffer.concat([Buffer.from('azaion-v2-recipe\0'), Uint8Array.of(SEGMENT_KINDS[kind]), u32(index)]);
  return {
    where: `${where}, ${kind} ${index}`,
    nonce: sealed.subarray(0, NONCE_BYTES),
    ciphertext: sealed.subarray(NONCE_BYTES, sealed.length - TAG_BYTES),
    knownPrefix: content.subarray(0, PREFIX_BYTES),
    derivation: { by: 'hkdf', input: info },
  };
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
