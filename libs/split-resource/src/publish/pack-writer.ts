import { CHUNK_OVERHEAD_BYTES, MAX_CHUNK_BYTES } from '@azaion/crypto';
import { copyBytes } from '@azaion/kernel';

import { pauseBeforeRetry, retryAfterMs, type RetryPolicy } from '../backoff.js';
import type { ChunkSealer, PublishHash, RunningHash } from '../chunk-work.js';
import { ResourceError } from '../errors.js';
import { MAX_CHUNKS_PER_PACK, type PackRef } from '../pack.js';
import type { PackSink } from '../ports/pack-sink.js';
import type { NewPack, OpenedUpload, PackedChunk } from '../ports/upload-api.js';
import type { HeldUpload } from './held-upload.js';

/** Most packs being written at a time. */
export const MAX_PACKS_IN_FLIGHT = 4;
/** Sealed bytes being written above which no further pack is begun: two full packs. */
const MAX_BYTES_IN_FLIGHT = 48 * 1024 * 1024;
/** What is hashed of an open pack at a time. */
const HASH_STEP_BYTES = 1024 * 1024;
/** A pack is handed to the sink in parts of this size. */
const PART_BYTES = 256 * 1024;
const PUT_DEADLINE_MS = 10 * 60_000;

/** Collects sealed chunks into packs and writes them, a few at a time, in the background. */
export class PackWriter {
  private readonly writes = new Set<Promise<void>>();
  private bytesInFlight = 0;
  private failure: { readonly error: unknown } | undefined;
  private open: OpenPack | undefined;
  /** Memory of packs that have been written, for the next ones: new memory for every pack would pile up between collections. */
  private readonly spare: Uint8Array[] = [];
  /** Sealed bytes that have arrived. */
  writtenBytes = 0;

  /**
   * @param wanted - How long packs become, and whether they are announced with their MD5.
   * @param table - The pack table of the recipe; new packs get their place in it when they are begun, and their name when they are written.
   */
  constructor(
    private readonly upload: HeldUpload,
    private readonly sealer: ChunkSealer,
    private readonly allocate: (sizeBytes: number) => Uint8Array,
    private readonly sink: PackSink,
    private readonly wanted: Pick<OpenedUpload, 'packTargetBytes' | 'packMd5'>,
    private readonly table: (PackRef | undefined)[],
    private readonly retry: RetryPolicy,
    private readonly signal: AbortSignal,
  ) {}

  /** Adds a copy of a sealed chunk; waits while too much is being written. @throws what writing an earlier pack threw. */
  async append(id: Uint8Array, sealed: Uint8Array): Promise<{ readonly packIndex: number; readonly offset: number }> {
    this.assertHealthy();
    const pack = (this.open ??= this.begun());
    const offset = pack.append(id, sealed);
    if (pack.sizeBytes >= this.wanted.packTargetBytes || pack.chunks.length === MAX_CHUNKS_PER_PACK) await this.close();
    return { packIndex: pack.index, offset };
  }

  /** Writes the last pack and waits for all. @throws what writing any of them threw. */
  async finish(): Promise<void> {
    await this.close();
    while (this.writes.size > 0) await Promise.race(this.writes);
    this.assertHealthy();
  }

  /** Waits until no pack is on its way any more, however that ended: nothing reads their memory then. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.writes);
  }

  private begun(): OpenPack {
    const hashing = (algorithm: PublishHash): RunningHash => this.sealer.hashing(algorithm, this.signal);
    return new OpenPack(
      this.table.push(undefined) - 1,
      this.spare.pop() ?? this.newMemory(),
      hashing('sha256'),
      this.wanted.packMd5 ? hashing('md5') : undefined,
    );
  }

  private async close(): Promise<void> {
    const pack = this.open;
    if (pack === undefined) return;
    this.open = undefined;
    this.bytesInFlight += pack.sizeBytes;
    const write = this.write(pack)
      .then(() => void this.spare.push(pack.memory))
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
  private newMemory(): Uint8Array {
    return this.allocate(this.wanted.packTargetBytes + MAX_CHUNK_BYTES + CHUNK_OVERHEAD_BYTES);
  }

  private assertHealthy(): void {
    this.signal.throwIfAborted();
    if (this.failure) throw this.failure.error;
  }

  /** Afterwards nobody needs the pack's memory any more. */
  private async write(pack: OpenPack): Promise<void> {
    const { memory, sizeBytes } = pack;
    const { sha256, md5 } = await pack.digest();
    const content = { sizeBytes, sha256, md5 };
    let announced = await this.announce(pack, content);
    for (let failures = 0, renewed = false; ;) {
      this.signal.throwIfAborted();
      try {
        await this.sink.put(announced.target, partsOf(memory, sizeBytes), PUT_DEADLINE_MS, this.signal);
        break;
      } catch (error) {
        // An attempt whose answer was lost has written it: nobody else was given this name.
        if (error instanceof ResourceError && error.code === 'pack.exists') break;
        failures++;
        const refused = error instanceof ResourceError && error.code === 'pack.forbidden';
        // A new URL that is refused as well has not expired; each one is a pack more that waits to be collected.
        if (failures >= this.retry.attempts || !isWorthRepeating(error) || (refused && renewed)) throw error;
        await pauseBeforeRetry(this.retry, failures, retryAfterMs(error), this.signal);
        if (refused) {
          announced = await this.announce(pack, content);
          renewed = true;
        }
      }
    }
    this.table[pack.index] = { packId: announced.packId, sizeBytes, sha256 };
    this.writtenBytes += sizeBytes;
  }

  /** The chunk table goes before the pack: whatever ends the publish from the last byte on, the next one finds the pack again. */
  private async announce(pack: OpenPack, content: NewPack): ReturnType<HeldUpload['addPack']> {
    const announced = await this.upload.addPack(content);
    await this.upload.putChunkTable(announced.packId, pack.chunks);
    return announced;
  }
}

function isWorthRepeating(error: unknown): boolean {
  return error instanceof ResourceError && (error.code === 'pack.unavailable' || error.code === 'pack.forbidden');
}

/** A pack that is being filled; it is hashed meanwhile. */
class OpenPack {
  readonly chunks: PackedChunk[] = [];
  sizeBytes = 0;
  private hashedBytes = 0;

  constructor(
    readonly index: number,
    /** Has room for the target and one chunk more. */
    readonly memory: Uint8Array,
    private readonly sha256: RunningHash,
    private readonly md5: RunningHash | undefined,
  ) {}

  append(id: Uint8Array, sealed: Uint8Array): number {
    const offset = this.sizeBytes;
    copyBytes(sealed, this.memory, offset);
    this.chunks.push({ id, offset, sealedBytes: sealed.length });
    this.sizeBytes += sealed.length;
    if (this.sizeBytes - this.hashedBytes >= HASH_STEP_BYTES) this.hash();
    return offset;
  }

  /** Ends the hashes: no more is appended. */
  async digest(): Promise<{ readonly sha256: Uint8Array; readonly md5: Uint8Array | undefined }> {
    this.hash();
    const [sha256, md5] = await Promise.all([this.sha256.digest(), this.md5?.digest()]);
    return { sha256, md5 };
  }

  private hash(): void {
    const added = this.memory.subarray(this.hashedBytes, this.sizeBytes);
    this.hashedBytes = this.sizeBytes;
    for (const hash of [this.sha256, this.md5]) hash?.update(added).catch(() => undefined); // what fails here fails the digest
  }
}

function partsOf(memory: Uint8Array, sizeBytes: number): readonly Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < sizeBytes; at += PART_BYTES)
    parts.push(memory.subarray(at, Math.min(at + PART_BYTES, sizeBytes)));
  return parts;
}
