import { hash } from 'node:crypto';

import { type SegmentKind, sealSegment } from '@azaion/crypto';

import type { ChunkingParameters } from '../chunker.js';
import { ResourceError } from '../errors.js';
import type { PackRef } from '../pack.js';
import { type ChunkRecord, writeChunkRecord } from './chunk-segment.js';
import {
  CHUNK_RECORD_BYTES,
  MAX_CHUNK_SEGMENTS,
  MAX_PACK_SEGMENTS,
  PACK_RECORD_BYTES,
  RECORDS_PER_SEGMENT,
} from './limits.js';
import { writePackRecord } from './pack-segment.js';
import { type RecipePlace, segmentPlace } from './recipe-place.js';
import { encodeRoot } from './recipe-root.js';

/** Takes the sealed parts of a recipe as they come: segments in order, the root last. */
export type SegmentWriter = (kind: SegmentKind, index: number, sealed: Uint8Array) => Promise<void>;

/** A recipe that has been sealed and handed to a {@link SegmentWriter}. */
export interface SealedRecipe {
  /** SHA-256 of the sealed root, hexadecimal. */
  readonly rootHash: string;
  readonly chunkSegments: number;
  readonly packSegments: number;
  /** Sealed bytes of all parts together. */
  readonly recipeBytes: number;
}

/** Writes a recipe record by record. It holds one segment in memory. */
export class RecipeBuilder {
  private segment = Buffer.alloc(RECORDS_PER_SEGMENT * CHUNK_RECORD_BYTES);
  private records = 0;
  private segmentBytes = 0;
  private chunks = 0;
  private totalBytes = 0;
  private recipeBytes = 0;
  private readonly chunkSegmentHashes: Buffer[] = [];
  private readonly chunkSegmentBytes: number[] = [];

  /** @param recipeKey - 32 bytes. */
  constructor(
    private readonly place: RecipePlace,
    private readonly recipeKey: Uint8Array,
    private readonly chunking: ChunkingParameters,
    private readonly write: SegmentWriter,
  ) {}

  /** Adds the next chunk. @throws ResourceError `resource.too-large` beyond the format's limits, and what the writer throws. */
  async add(record: ChunkRecord): Promise<void> {
    // A full segment waits for the next record: only then is it known not to be the last.
    if (this.records === RECORDS_PER_SEGMENT) await this.flush(false);
    writeChunkRecord(this.segment, this.records, record);
    this.records++;
    this.chunks++;
    this.segmentBytes += record.plaintextBytes;
    this.totalBytes += record.plaintextBytes;
  }

  /**
   * Writes what is left and the root.
   *
   * @param packs - The pack table; chunk records name its indices.
   * @param sha256 - Of the whole plaintext.
   */
  async finish(packs: readonly PackRef[], sha256: Uint8Array): Promise<SealedRecipe> {
    if (this.records > 0) await this.flush(true);
    const packSegmentHashes = await this.writePacks(packs);
    const root = encodeRoot({
      chunking: this.chunking,
      totalBytes: this.totalBytes,
      sha256,
      chunks: this.chunks,
      packs: packs.length,
      chunkSegmentHashes: this.chunkSegmentHashes,
      packSegmentHashes,
      chunkSegmentBytes: this.chunkSegmentBytes,
    });
    const rootHash = await this.seal(root, 'root', 0, true);
    return {
      rootHash: rootHash.toString('hex'),
      chunkSegments: this.chunkSegmentHashes.length,
      packSegments: packSegmentHashes.length,
      recipeBytes: this.recipeBytes,
    };
  }

  private async writePacks(packs: readonly PackRef[]): Promise<Buffer[]> {
    const segments = Math.ceil(packs.length / RECORDS_PER_SEGMENT);
    if (segments > MAX_PACK_SEGMENTS) throw tooLarge();
    const hashes: Buffer[] = [];
    for (let index = 0; index < segments; index++) {
      const part = packs.slice(index * RECORDS_PER_SEGMENT, (index + 1) * RECORDS_PER_SEGMENT);
      const segment = Buffer.alloc(part.length * PACK_RECORD_BYTES);
      part.forEach((pack, at) => writePackRecord(segment, at, pack));
      hashes.push(await this.seal(segment, 'packs', index, index === segments - 1));
    }
    return hashes;
  }

  private async flush(last: boolean): Promise<void> {
    const index = this.chunkSegmentHashes.length;
    if (index === MAX_CHUNK_SEGMENTS) throw tooLarge();
    const content = this.segment.subarray(0, this.records * CHUNK_RECORD_BYTES);
    this.chunkSegmentHashes.push(await this.seal(content, 'chunks', index, last));
    this.chunkSegmentBytes.push(this.segmentBytes);
    this.records = 0;
    this.segmentBytes = 0;
  }

  private async seal(content: Uint8Array, kind: SegmentKind, index: number, last: boolean): Promise<Buffer> {
    const sealed = sealSegment(content, this.recipeKey, segmentPlace(this.place, kind, index, last));
    this.recipeBytes += sealed.length;
    await this.write(kind, index, sealed);
    return hash('sha256', sealed, 'buffer');
  }
}

function tooLarge(): ResourceError {
  return new ResourceError('resource.too-large', 'The resource is larger than the format allows.');
}
