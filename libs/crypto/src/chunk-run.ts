import { hash } from 'node:crypto';

import { equalBytes } from '@azaion/kernel';

import { CryptoError } from './errors.js';
import { type ChunkSecrets, decryptChunk, invalidChunk } from './sealed-chunk.js';
import { Sha256Lanes } from './sha256-lanes.js';

/** Where one chunk lies in a run of sealed bytes, and what opens it. */
export interface SealedPlace {
  /** First byte in the run. */
  readonly at: number;
  readonly sealedBytes: number;
  readonly secrets: ChunkSecrets;
}

/** What came of a run: the chunks up to the first that did not open. */
export interface OpenedRun {
  /** Of the chunks that opened, one after another. Good until the next run is opened. */
  readonly plaintext: Uint8Array;
  /** How many opened. */
  readonly count: number;
  /** Why the next chunk did not open; absent when all did. */
  readonly refusal?: CryptoError;
}

/** Fewer chunks than this would leave lanes idle. */
const MIN_CHUNKS_FOR_LANES = 3;

/** Room for a range as large as they usually become. */
const MIN_ROOM_BYTES = 4 * 1024 * 1024;

/** Opens run after run into memory of its own, with the checks of `openChunk` for each chunk. Several hashes are computed at once where that is faster. */
export class ChunkRunOpener {
  private lanes: Sha256Lanes | undefined;
  private memory: Uint8Array = new Uint8Array();
  private tried = false;

  /** @param lanes - `false` leaves hashing to Node. */
  constructor(private readonly mayUseLanes = true) {}

  /**
   * @param bytes - Untrusted.
   * @param chunks - From an authenticated recipe; inside of the bytes.
   * @throws Nothing that the bytes can bring about: that is the run's `refusal`.
   */
  open(bytes: Uint8Array, chunks: readonly SealedPlace[]): OpenedRun {
    this.makeRoom(chunks.reduce((sum, { secrets }) => sum + secrets.plaintextBytes, 0));
    const places: { readonly at: number; readonly sizeBytes: number }[] = [];
    let plaintextBytes = 0;
    let refusal: CryptoError | undefined;
    for (const { at, sealedBytes, secrets } of chunks) {
      const target = this.memory.subarray(plaintextBytes, plaintextBytes + secrets.plaintextBytes);
      try {
        decryptChunk(bytes.subarray(at, at + sealedBytes), secrets, target);
      } catch (error) {
        if (!(error instanceof CryptoError)) throw error;
        refusal = error;
        break;
      }
      places.push({ at: plaintextBytes, sizeBytes: target.length });
      plaintextBytes += target.length;
    }
    const forged = this.hashes(places).findIndex((digest, index) => {
      const h = chunks[index]?.secrets.h;
      return h === undefined || !equalBytes(digest, h);
    });
    const count = forged < 0 ? places.length : forged;
    if (forged >= 0) {
      refusal = invalidChunk();
      plaintextBytes = places[forged]?.at ?? 0;
    }
    const plaintext = this.memory.subarray(0, plaintextBytes);
    return refusal === undefined ? { plaintext, count } : { plaintext, count, refusal };
  }

  private hashes(places: readonly { readonly at: number; readonly sizeBytes: number }[]): readonly Uint8Array[] {
    if (this.lanes !== undefined && places.length >= MIN_CHUNKS_FOR_LANES) return this.lanes.hash(places);
    return places.map(({ at, sizeBytes }) => hash('sha256', this.memory.subarray(at, at + sizeBytes), 'buffer'));
  }

  private makeRoom(sizeBytes: number): void {
    if (this.memory.length >= sizeBytes && this.tried) return;
    // A run that is larger than the ones before it is rare: sizes double from range to range, up to a limit.
    const roomBytes = Math.max(sizeBytes, 2 * this.memory.length, MIN_ROOM_BYTES);
    if (this.mayUseLanes && (!this.tried || this.lanes !== undefined))
      this.lanes = this.tried ? Sha256Lanes.start(roomBytes) : Sha256Lanes.worthwhile(roomBytes);
    this.tried = true;
    this.memory = this.lanes?.memory ?? Buffer.allocUnsafeSlow(roomBytes);
  }
}
