import { CHUNK_OVERHEAD_BYTES, MAX_CHUNK_BYTES } from '@azaion/crypto';

import { pauseBeforeRetry, retryAfterMs, type RetryPolicy } from '../backoff.js';
import { type ChunkSealer } from '../chunk-work.js';
import { ResourceError } from '../errors.js';
import { MAX_CHUNKS_PER_PACK, type PackRef } from '../pack.js';
import { type PackSink } from '../ports/pack-sink.js';
import { type PackedChunk } from '../ports/upload-api.js';
import { type HeldUpload } from './held-upload.js';

/** Most packs being written at a time. */
export const MAX_PACKS_IN_FLIGHT = 4;
/** Sealed bytes being written above which no further pack is begun: two full packs. */
const MAX_BYTES_IN_FLIGHT = 48 * 1024 * 1024;
/** A pack is handed to the sink in parts of this size. */
const PART_BYTES = 256 * 1024;
const PUT_DEADLINE_MS = 10 * 60_000;

/** Collects sealed chunks into packs and writes them, a few at a time, in the background. */
export class PackWriter {
  private readonly writes = new Set<Promise<void>>();
  private bytesInFlight = 0;
  private failure: { readonly error: unknown } | undefined;
  private open: OpenPack | undefined;
  /** Buffers of packs that have been written, for the next ones: new ones for every pack would pile up between collections. */
  private readonly spare: Buffer[] = [];
  /** Sealed bytes that have arrived. */
  writtenBytes = 0;

  /** @param table - The pack table of the recipe; new packs get their place in it when they are begun, and their name when they are written. */
  constructor(
    private readonly upload: HeldUpload,
    private readonly sealer: ChunkSealer,
    private readonly sink: PackSink,
    private readonly targetBytes: number,
    private readonly table: (PackRef | undefined)[],
    private readonly retry: RetryPolicy,
    private readonly signal: AbortSignal,
  ) {}

  /** Adds a copy of a sealed chunk; waits while too much is being written. @throws what writing an earlier pack threw. */
  async append(id: Uint8Array, sealed: Uint8Array): Promise<{ readonly packIndex: number; readonly offset: number }> {
    this.assertHealthy();
    this.open ??= new OpenPack(this.table.push(undefined) - 1, this.spare.pop() ?? this.newBuffer());
    const pack = this.open;
    const offset = pack.append(id, sealed);
    if (pack.sizeBytes >= this.targetBytes || pack.chunks.length === MAX_CHUNKS_PER_PACK) await this.close();
    return { packIndex: pack.index, offset };
  }

  /** Writes the last pack and waits for all. @throws what writing any of them threw. */
  async finish(): Promise<void> {
    await this.close();
    while (this.writes.size > 0) await Promise.race(this.writes);
    this.assertHealthy();
  }

  private async close(): Promise<void> {
    const pack = this.open;
    if (pack === undefined) return;
    this.open = undefined;
    this.bytesInFlight += pack.sizeBytes;
    const write = this.write(pack)
      .then((buffer) => void this.spare.push(buffer))
      .catch((error: unknown) => {
        this.failure ??= { error };
      })
      .finally(() => {
        this.bytesInFlight -= pack.sizeBytes;
        this.writes.delete(write);
      });
    this.writes.add(write);
    while (this.writes.size >= MAX_PACKS_IN_FLIGHT || this.bytesInFlight > MAX_BYTES_IN_FLIGHT)
      await Promise.race(this.writes);
    this.assertHealthy();
  }

  /** Memory is used only as far as it is written to. */
  private newBuffer(): Buffer {
    return Buffer.allocUnsafeSlow(this.targetBytes + MAX_CHUNK_BYTES + CHUNK_OVERHEAD_BYTES);
  }

  private assertHealthy(): void {
    this.signal.throwIfAborted();
    if (this.failure) throw this.failure.error;
  }

  /** @returns The pack's buffer, which nobody needs any more. */
  private async write(pack: OpenPack): Promise<Buffer> {
    const { sizeBytes } = pack;
    const { buffer, sha256, md5 } = await this.sealer.digest(pack.buffer, sizeBytes);
    const content = { sizeBytes, sha256, md5 };
    let announced = await this.upload.addPack(content);
    for (let failures = 0; ;) {
      this.signal.throwIfAborted();
      try {
        await this.sink.put(announced.target, partsOf(buffer, sizeBytes), PUT_DEADLINE_MS, this.signal);
        break;
      } catch (error) {
        // An attempt whose answer was lost has written it: nobody else was given this name.
        if (error instanceof ResourceError && error.code === 'pack.exists') break;
        failures++;
        if (failures >= this.retry.attempts || !isWorthRepeating(error)) throw error;
        await pauseBeforeRetry(this.retry, failures, retryAfterMs(error), this.signal);
        if (error.code === 'pack.forbidden') announced = await this.upload.addPack(content);
      }
    }
    await this.upload.putChunkTable(announced.packId, pack.chunks);
    this.table[pack.index] = { packId: announced.packId, sizeBytes, sha256 };
    this.writtenBytes += sizeBytes;
    return buffer;
  }
}

function isWorthRepeating(error: unknown): error is ResourceError {
  return error instanceof ResourceError && (error.code === 'pack.unavailable' || error.code === 'pack.forbidden');
}

class OpenPack {
  readonly chunks: PackedChunk[] = [];
  sizeBytes = 0;

  constructor(
    readonly index: number,
    /** Has room for the target and one chunk more. */
    readonly buffer: Buffer,
  ) {}

  append(id: Uint8Array, sealed: Uint8Array): number {
    const offset = this.sizeBytes;
    this.buffer.set(sealed, offset);
    this.chunks.push({ id, offset, sealedBytes: sealed.length });
    this.sizeBytes += sealed.length;
    return offset;
  }
}

function partsOf(buffer: Buffer, sizeBytes: number): readonly Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < sizeBytes; at += PART_BYTES)
    parts.push(buffer.subarray(at, Math.min(at + PART_BYTES, sizeBytes)));
  return parts;
}
