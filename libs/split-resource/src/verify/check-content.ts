import { createHash } from 'node:crypto';

import { CryptoError, openChunk } from '@azaion/crypto';
import { type ByteRange, equalBytes, releaseBytes } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import { type PlannedRange, planRanges } from '../fetch/fetch-plan.js';
import { type PackId, packObjectKey } from '../pack.js';
import { type PackObject, readPack } from '../pack-object.js';
import type { ObjectStore } from '../ports/object-store.js';
import { RECORDS_PER_SEGMENT } from '../recipe/limits.js';
import type { PackSegment } from '../recipe/pack-segment.js';
import type { Recipe } from '../recipe/recipe.js';

/** What was found where a recipe says that a chunk lies. */
export interface CheckedChunk {
  readonly packId: PackId;
  readonly offset: number;
  readonly sealedBytes: number;
  /** Whether it opened and its content has the hash of the recipe. */
  readonly good: boolean;
}

/** What a check tells on the way. */
export interface CheckVisitor {
  /** Called with what was found, a few chunks at a time, in the order of the content. */
  readonly chunks: (checked: readonly CheckedChunk[]) => Promise<void>;
  /** Called between two chunks; what it throws ends the check. For giving way to others. */
  readonly breathe?: () => Promise<void>;
}

/** Opens what was published from the object store, as every reader will: the work of the verifier. Source: docs/formats/sealed-resource.md, "Verifier". */
export class CheckContent {
  /** @param locate - Where a pack lies right now: an object of its own name unless given. */
  constructor(
    private readonly store: ObjectStore,
    private readonly locate: (folderId: string, packId: PackId) => Promise<PackObject> = (folderId, packId) =>
      Promise.resolve({ key: packObjectKey(folderId, packId) }),
  ) {}

  /**
   * Opens every chunk of a version and compares the whole with the hash that its publisher asserted. Holds one range of 3 MiB, one chunk
   * and one segment of the recipe in memory.
   *
   * @param recipe - Opened with the hash of its statement.
   * @returns Whether everything is as the recipe says.
   * @throws ResourceError `cdn.unavailable`, CryptoError `chunk.unsupported-codec`: nothing is known then. What reading the recipe throws.
   */
  async run(recipe: Recipe, { chunks, breathe }: CheckVisitor): Promise<boolean> {
    const whole = createHash('sha256');
    const packs = new PackNames(recipe);
    let sound = true;
    for await (const planned of planRanges(recipe, { start: 0, end: recipe.root.totalBytes })) {
      const packId = await packs.of(planned.packIndex);
      const bytes = await this.read(recipe, packId, planned.range);
      const checked: CheckedChunk[] = [];
      for (let index = planned.from; index < planned.to; index++) {
        const plaintext = await this.open(recipe, planned, packId, index, bytes);
        checked.push({ ...entry(planned, packId, index), good: plaintext !== undefined });
        if (plaintext === undefined) sound = false;
        else if (sound) whole.update(plaintext);
        if (plaintext !== undefined) releaseBytes(plaintext);
        await breathe?.();
      }
      if (bytes !== undefined) releaseBytes(bytes);
      await chunks(checked);
    }
    return sound && equalBytes(whole.digest(), recipe.root.sha256);
  }

  /**
   * Opens one chunk.
   *
   * @param chunk - Its index in the version, from 0; untrusted.
   * @returns `undefined` when the version has no such chunk.
   * @throws As {@link run}.
   */
  async chunk(recipe: Recipe, chunk: number): Promise<CheckedChunk | undefined> {
    if (!Number.isSafeInteger(chunk) || chunk < 0 || chunk >= recipe.root.chunks) return undefined;
    const segment = await recipe.chunkSegment(Math.floor(chunk / RECORDS_PER_SEGMENT));
    const index = chunk % RECORDS_PER_SEGMENT;
    const packId = await new PackNames(recipe).of(segment.packIndex(index));
    const alone = { segment, range: rangeOf(segment, index) };
    const plaintext = await this.open(recipe, alone, packId, index, undefined);
    return { ...entry(alone, packId, index), good: plaintext !== undefined };
  }

  /** The plaintext of one chunk; what does not open is read once more by itself: the damage may have happened on the way. */
  private async open(
    recipe: Recipe,
    { segment, range }: Pick<PlannedRange, 'segment' | 'range'>,
    packId: PackId,
    index: number,
    bytes: Buffer | undefined,
  ): Promise<Buffer | undefined> {
    const own = rangeOf(segment, index);
    for (const attempt of ['as read', 'again']) {
      const sealed =
        attempt === 'as read'
          ? bytes?.subarray(own.start - range.start, own.end - range.start)
          : await this.read(recipe, packId, own);
      if (sealed === undefined) continue;
      try {
        return openChunk(sealed, segment.secrets(index));
      } catch (error) {
        // Nothing is known of a codec of a later release, whose readers open it.
        if (!(error instanceof CryptoError) || error.code === 'chunk.unsupported-codec') throw error;
      }
    }
    return undefined;
  }

  /** @returns `undefined` when the store has no such bytes. */
  private async read(recipe: Recipe, packId: PackId, range: ByteRange): Promise<Buffer | undefined> {
    try {
      return await readPack(this.store, await this.locate(recipe.place.folderId, packId), range);
    } catch (error) {
      if (error instanceof ResourceError && error.code === 'pack.not-found') return undefined;
      throw error;
    }
  }
}

/** Which pack has which number in a recipe; one segment of the table is kept. */
class PackNames {
  private held: { readonly index: number; readonly segment: PackSegment } | undefined;

  constructor(private readonly recipe: Recipe) {}

  async of(packIndex: number): Promise<PackId> {
    const index = Math.floor(packIndex / RECORDS_PER_SEGMENT);
    if (this.held?.index !== index) this.held = { index, segment: await this.recipe.packSegment(index) };
    return this.held.segment.pack(packIndex % RECORDS_PER_SEGMENT).packId;
  }
}

function rangeOf(segment: PlannedRange['segment'], index: number): ByteRange {
  const start = segment.offset(index);
  return { start, end: start + segment.sealedBytes(index) };
}

function entry({ segment }: Pick<PlannedRange, 'segment'>, packId: PackId, index: number): Omit<CheckedChunk, 'good'> {
  return { packId, offset: segment.offset(index), sealedBytes: segment.sealedBytes(index) };
}
