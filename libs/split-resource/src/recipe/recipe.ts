import { hash } from 'node:crypto';

import { openSegment, type SegmentKind } from '@azaion/crypto';
import { equalBytes } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import type { PackRef } from '../pack.js';
import { ChunkSegment } from './chunk-segment.js';
import { MAX_ROOT_BYTES, MAX_SEGMENT_BYTES, RECORDS_PER_SEGMENT } from './limits.js';
import { PackSegment } from './pack-segment.js';
import { type RecipePlace, segmentPlace } from './recipe-place.js';
import { decodeRoot, type RecipeRoot } from './recipe-root.js';

/** Whether bytes are the sealed part that was signed. What it has just found right it does not hash again. */
export type PartCheck = (sealed: Uint8Array) => boolean;

/**
 * Where sealed parts of a recipe come from. What it returns is checked here; by `isSigned` a cache can tell whether what it has is the
 * right one. It is `undefined` for the root of a draft.
 */
export type SegmentReader = (
  kind: SegmentKind,
  index: number,
  maxBytes: number,
  isSigned: PartCheck | undefined,
) => Promise<Uint8Array>;

/**
 * An opened recipe. The root is in memory, the segments are read when they are asked for, so that 100 GiB need no more memory than
 * 1 MiB. Source: docs/formats/sealed-resource.md, "Recipe".
 */
export class Recipe {
  private constructor(
    readonly place: RecipePlace,
    readonly root: RecipeRoot,
    /** SHA-256 of the sealed root, hexadecimal. */
    readonly rootHash: string,
    private readonly recipeKey: Uint8Array,
    private readonly read: SegmentReader,
  ) {}

  /**
   * Opens the root.
   *
   * @param recipeKey - 32 bytes.
   * @param rootHash - From a verified statement; `undefined` for a draft, which nobody has signed yet.
   * @throws CryptoError `segment.invalid`; ResourceError `resource.integrity` (another hash) | `recipe.invalid` | `resource.unsupported-format`, and what `read` throws.
   */
  static async open(
    place: RecipePlace,
    recipeKey: Uint8Array,
    read: SegmentReader,
    rootHash: string | undefined,
  ): Promise<Recipe> {
    const isSigned = rootHash === undefined ? undefined : partCheck(Buffer.from(rootHash, 'hex'));
    const sealed = await read('root', 0, MAX_ROOT_BYTES, isSigned);
    if (sealed.length > MAX_ROOT_BYTES || isSigned?.(sealed) === false) throw alteredRecipe('root', 0);
    const root = decodeRoot(openSegment(sealed, recipeKey, segmentPlace(place, 'root', 0, true)));
    return new Recipe(place, root, rootHash ?? hash('sha256', sealed, 'hex'), recipeKey, read);
  }

  /**
   * Reads one chunk segment.
   *
   * @throws as {@link Recipe.open}.
   */
  async chunkSegment(index: number): Promise<ChunkSegment> {
    const { root } = this;
    return ChunkSegment.parse(await this.segment('chunks', index, root.chunkSegmentHashes), {
      count: recordsIn(index, root.chunks),
      plaintextBytes: root.chunkSegmentBytes[index] ?? 0,
      packs: root.packs,
      maxChunkBytes: root.chunking.maxBytes,
    });
  }

  /**
   * Reads one pack segment.
   *
   * @throws as {@link Recipe.open}.
   */
  async packSegment(index: number): Promise<PackSegment> {
    const content = await this.segment('packs', index, this.root.packSegmentHashes);
    return PackSegment.parse(content, recordsIn(index, this.root.packs));
  }

  private async segment(kind: SegmentKind, index: number, hashes: readonly Uint8Array[]): Promise<Uint8Array> {
    const expected = hashes[index];
    if (expected === undefined) throw new RangeError('no such segment');
    const isSigned = partCheck(expected);
    const sealed = await this.read(kind, index, MAX_SEGMENT_BYTES, isSigned);
    if (sealed.length > MAX_SEGMENT_BYTES || !isSigned(sealed)) throw alteredRecipe(kind, index);
    const last = index === hashes.length - 1;
    return openSegment(sealed, this.recipeKey, segmentPlace(this.place, kind, index, last));
  }
}

/** What a full check of a recipe shows to its caller on the way. */
export interface RecipeVisitor {
  /** Called for every pack, in order, before any chunk. */
  readonly pack?: (pack: PackRef, index: number) => void | Promise<void>;
  /** Called for every chunk segment, in order, after all its records were checked. */
  readonly chunks?: (segment: ChunkSegment, segmentIndex: number) => void | Promise<void>;
}

/**
 * Reads a whole recipe and checks what no single segment shows: every chunk lies inside its pack, entries of a pack do not overlap
 * (repeats of one entry are fine), packs are named once and none for nothing. Needs 8 bytes of memory a chunk.
 *
 * @throws ResourceError `recipe.invalid`, and what {@link Recipe.open} throws.
 */
export async function verifyRecipe(recipe: Recipe, visitor: RecipeVisitor = {}): Promise<void> {
  const { root } = recipe;
  const packSizes = new Uint32Array(root.packs);
  const packIds = new Set<string>();
  for (let segmentIndex = 0; segmentIndex < root.packSegmentHashes.length; segmentIndex++) {
    const segment = await recipe.packSegment(segmentIndex);
    for (let index = 0; index < segment.count; index++) {
      const pack = segment.pack(index);
      const packIndex = segmentIndex * RECORDS_PER_SEGMENT + index;
      packIds.add(pack.packId);
      packSizes[packIndex] = pack.sizeBytes;
      await visitor.pack?.(pack, packIndex);
    }
  }
  if (packIds.size !== root.packs) throw invalidRecipe('names a pack twice');
  const extents = new BigUint64Array(root.chunks);
  let at = 0;
  for (let segmentIndex = 0; segmentIndex < root.chunkSegmentHashes.length; segmentIndex++) {
    const segment = await recipe.chunkSegment(segmentIndex);
    for (let index = 0; index < segment.count; index++) {
      const packIndex = segment.packIndex(index);
      const offset = segment.offset(index);
      const sealedBytes = segment.sealedBytes(index);
      if (offset + sealedBytes > (packSizes[packIndex] ?? 0)) throw invalidRecipe('has a chunk outside of its pack');
      extents[at++] = extentOf(packIndex, offset, sealedBytes);
    }
    await visitor.chunks?.(segment, segmentIndex);
  }
  assertDisjoint(extents, root.packs);
}

// 18 bits for the pack, 26 for the offset, 20 for the length: the limits of the format fit exactly, and a plain sort orders them.
function extentOf(packIndex: number, offset: number, sealedBytes: number): bigint {
  return (BigInt(packIndex) << 46n) | (BigInt(offset) << 20n) | BigInt(sealedBytes);
}

function assertDisjoint(extents: BigUint64Array, packs: number): void {
  extents.sort();
  let usedPacks = 0;
  let previous = -1n;
  let previousPack = -1;
  let previousEnd = 0;
  for (const extent of extents) {
    if (extent === previous) continue;
    const pack = Number(extent >> 46n);
    const offset = Number((extent >> 20n) & 0x3ff_ffffn);
    if (pack !== previousPack) usedPacks++;
    else if (offset < previousEnd) throw invalidRecipe('has chunks that overlap');
    previous = extent;
    previousPack = pack;
    previousEnd = offset + Number(extent & 0xf_ffffn);
  }
  if (usedPacks !== packs) throw invalidRecipe('names a pack that holds none of its chunks');
}

function partCheck(sha256: Uint8Array): PartCheck {
  let right: Uint8Array | undefined;
  return (sealed) => {
    if (sealed !== right && equalBytes(hash('sha256', sealed, 'buffer'), sha256)) right = sealed;
    return sealed === right;
  };
}

/** Records in one segment of a table. */
export function recordsIn(segmentIndex: number, records: number): number {
  return Math.min(RECORDS_PER_SEGMENT, records - segmentIndex * RECORDS_PER_SEGMENT);
}

function alteredRecipe(kind: SegmentKind, index: number): ResourceError {
  return new ResourceError('resource.integrity', 'A part of the recipe is not the one that was signed.', {
    details: { part: kind, index },
  });
}

function invalidRecipe(problem: string): ResourceError {
  return new ResourceError('recipe.invalid', `The recipe ${problem}.`);
}
