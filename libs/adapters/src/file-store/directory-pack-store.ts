import { constants } from 'node:fs';
import {
  appendFile,
  mkdir,
  open,
  readFile,
  rename,
  rm,
  stat,
  statfs,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';

import type { ByteRange } from '@azaion/kernel';
import {
  ByteIntervals,
  MAX_PACK_BYTES,
  PACK_ID_PATTERN,
  type PackId,
  type PackRef,
  PackStore,
  type SparePacks,
} from '@azaion/split-resource';

import { ignoreMissing, noSpace, orNoSpace, systemCode } from './file-errors.js';
import { JournalFlushes } from './journal-flushes.js';
import { assertPackNames, isFolderId } from './pack-names.js';
import { namesIn } from './read-if-there.js';
import { JOURNAL_RECORD_BYTES, journalHeader, journalRecord, replayJournal } from './presence-journal.js';

const JOURNAL_SUFFIX = '.present';
const DEFAULT_FREE_RESERVE_BYTES = 64 * 1024 * 1024;
/** Reads move a pack's time of use on the disk at most this often. */
const TOUCH_INTERVAL_MS = 60_000;
/** A journal is rewritten when it has this many records more than it needs. */
const MAX_SPARE_RECORDS = 256;

/** Where packs are kept and how much room they may take. */
export interface DirectoryPackStoreOptions {
  readonly directory: string;
  /** Most bytes of packs kept. */
  readonly limitBytes: number;
  /** Which packs a valid lease needs now: such packs are evicted last. Asked whenever room is to be made, and waited for; it must not use this store. Default: none. */
  readonly leased?: () => Promise<(folderId: string, packId: PackId) => boolean>;
  /** Free bytes that the disk is left with. Default 64 MiB. */
  readonly freeReserveBytes?: number;
  /** Brings a file or directory onto the disk. Default: `fdatasync`. */
  readonly flush?: (path: string) => Promise<void>;
  /** How many bytes of the directory's disk are free. Default: asks the file system. */
  readonly freeBytes?: (directory: string) => Promise<number>;
}

interface KeptPack {
  readonly folderId: string;
  readonly packId: string;
  readonly present: ByteIntervals;
  /** Records in the journal; infinite when it must be written anew. */
  journalRecords: number;
  usedAtMs: number;
  touchedAtMs: number;
}

/**
 * Keeps packs as sparse files, each with a journal of the ranges that are there. A range enters the journal after its bytes have reached
 * the disk, so what is recorded as present is there after a `kill -9` and a power cut at any moment. The records themselves survive a `kill -9` at
 * once, and a power cut when they were flushed, see {@link JournalFlushes}. One process at a time uses a directory.
 */
export class DirectoryPackStore extends PackStore {
  private readonly packs = new Map<string, KeptPack>();
  private loading: Promise<void> | undefined;
  private usedBytes = 0;
  /** Changes happen one after another, so that nothing is evicted while it is written. Reads go on beside them. */
  private lastChange: Promise<void> = Promise.resolve();
  private readonly flushes: JournalFlushes;

  constructor(private readonly options: DirectoryPackStoreOptions) {
    super();
    this.flushes = new JournalFlushes(options.flush);
  }

  override async missing(folderId: string, pack: PackRef, range: ByteRange): Promise<readonly ByteRange[]> {
    await this.load();
    return this.packs.get(keyOf(folderId, pack.packId))?.present.missing(range) ?? [range];
  }

  override async read(folderId: string, pack: PackRef, range: ByteRange): Promise<Buffer | undefined> {
    await this.load();
    const key = keyOf(folderId, pack.packId);
    const kept = this.packs.get(key);
    if (kept === undefined || kept.present.missing(range).length > 0) return undefined;
    const bytes = await this.readFile(kept, range);
    if (bytes === undefined) await this.discard(folderId, pack, range);
    else await this.touch(kept);
    // Evicted or discarded while it was being read?
    return this.packs.get(key) === kept && kept.present.missing(range).length === 0 ? bytes : undefined;
  }

  override async write(folderId: string, pack: PackRef, startByte: number, bytes: Uint8Array): Promise<void> {
    assertPackNames(folderId, pack.packId);
    const range = { start: startByte, end: startByte + bytes.length };
    if (range.end > pack.sizeBytes) throw new RangeError('outside of the pack');
    await this.load();
    await this.inTurn(async () => {
      const key = keyOf(folderId, pack.packId);
      const kept = this.packs.get(key) ?? newPack(folderId, pack.packId);
      kept.usedAtMs = Date.now();
      const addedBytes = sizeOf(kept.present.missing(range));
      if (addedBytes === 0) return;
      await this.makeRoom(addedBytes, kept);
      await this.writeRange(kept, range, bytes).catch((error: unknown) => {
        throw orNoSpace(error);
      });
      this.packs.set(key, kept);
    });
  }

  override async discard(folderId: string, pack: PackRef, range: ByteRange): Promise<void> {
    await this.load();
    await this.inTurn(async () => {
      const kept = this.packs.get(keyOf(folderId, pack.packId));
      if (kept === undefined) return;
      this.forget(kept, range);
      await this.append(kept, journalRecord('remove', range)).catch((error: unknown) => {
        // A full disk must not keep anyone from forgetting: the journal is written anew with the next change.
        if (orNoSpace(error) === error) throw error;
      });
    });
  }

  override async reserve(bytes: number): Promise<void> {
    await this.load();
    const { limitBytes } = this.options;
    if (Math.min(bytes, MAX_PACK_BYTES) > limitBytes) throw noSpace();
    const keptBytes = Math.min(bytes, limitBytes);
    await this.inTurn(async () => {
      await this.makeRoom(keptBytes, undefined);
      await this.evictWhile(async () => (await this.roomBytes()) < keptBytes, undefined);
    });
  }

  override async capacityBytes(): Promise<number> {
    await this.load();
    return Math.max(0, Math.min(this.options.limitBytes, this.usedBytes + (await this.roomBytes())));
  }

  override async usage(): Promise<{ readonly bytes: number; readonly limitBytes: number }> {
    await this.load();
    return { bytes: this.usedBytes, limitBytes: this.options.limitBytes };
  }

  override async spare(isNeeded: (folderId: string, packId: PackId) => boolean): Promise<SparePacks> {
    await this.load();
    const spare = [...this.packs.values()].filter(
      ({ present, folderId, packId }) => present.sizeBytes > 0 && !isNeeded(folderId, packId),
    );
    return { packs: spare.length, bytes: spare.reduce((sum, { present }) => sum + present.sizeBytes, 0) };
  }

  private inTurn(change: () => Promise<void>): Promise<void> {
    const turn = this.lastChange.then(change);
    this.lastChange = turn.catch(() => undefined);
    return turn;
  }

  private async writeRange(kept: KeptPack, range: ByteRange, bytes: Uint8Array): Promise<void> {
    await mkdir(join(this.options.directory, kept.folderId), { recursive: true, mode: 0o700 });
    const missing = kept.present.missing(range);
    if (sizeOf(missing) < range.end - range.start) {
      // What is recorded as present is never overwritten half: it stops being present first.
      this.forget(kept, range);
      await this.append(kept, journalRecord('remove', range));
      await this.flushes.now(this.journalPath(kept));
    }
    const file = await open(this.packPath(kept), constants.O_RDWR | constants.O_CREAT, 0o600);
    try {
      for (let written = 0; written < bytes.length;) {
        const { bytesWritten } = await file.write(bytes, written, bytes.length - written, range.start + written);
        written += bytesWritten;
      }
      await file.datasync();
    } finally {
      await file.close();
    }
    await this.append(kept, journalRecord('add', range));
    kept.present.add(range);
    this.usedBytes += range.end - range.start;
    this.flushes.soon(this.journalPath(kept), range.end - range.start);
  }

  private forget(kept: KeptPack, range: ByteRange): void {
    this.usedBytes -= range.end - range.start - sizeOf(kept.present.missing(range));
    kept.present.remove(range);
  }

  private async append(kept: KeptPack, record: Buffer): Promise<void> {
    const path = this.journalPath(kept);
    const records = kept.journalRecords;
    kept.journalRecords = Infinity; // a record that was written half hides what follows it
    if (records > 0 && records <= kept.present.all.length + MAX_SPARE_RECORDS) {
      await appendFile(path, record);
      kept.journalRecords = records + 1;
      return;
    }
    const needed = kept.present.all.map((range) => journalRecord('add', range));
    await writeFile(`${path}.tmp`, Buffer.concat([journalHeader(), ...needed, record]), { mode: 0o600 });
    await this.flushes.now(`${path}.tmp`); // or a power cut might leave an empty journal in the place of a whole one
    await rename(`${path}.tmp`, path);
    kept.journalRecords = needed.length + 1;
  }

  /** What the disk could still give; less than nothing when others have taken of the reserve. */
  private async roomBytes(): Promise<number> {
    const { directory, freeReserveBytes = DEFAULT_FREE_RESERVE_BYTES, freeBytes = freeBytesOf } = this.options;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return (await freeBytes(directory)) - freeReserveBytes;
  }

  private async readFile(kept: KeptPack, range: ByteRange): Promise<Buffer | undefined> {
    const bytes = Buffer.allocUnsafeSlow(range.end - range.start);
    try {
      const file = await open(this.packPath(kept), 'r');
      try {
        for (let readBytes = 0; readBytes < bytes.length;) {
          const part = await file.read(bytes, readBytes, bytes.length - readBytes, range.start + readBytes);
          if (part.bytesRead === 0) return undefined;
          readBytes += part.bytesRead;
        }
      } finally {
        await file.close();
      }
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw error;
    }
    return bytes;
  }

  private async touch(kept: KeptPack): Promise<void> {
    kept.usedAtMs = Date.now();
    if (kept.usedAtMs - kept.touchedAtMs < TOUCH_INTERVAL_MS) return;
    kept.touchedAtMs = kept.usedAtMs;
    const seconds = kept.usedAtMs / 1000;
    await utimes(this.journalPath(kept), seconds, seconds).catch(ignoreMissing);
  }

  private async makeRoom(bytes: number, except: KeptPack | undefined): Promise<void> {
    const { limitBytes } = this.options;
    if (bytes > limitBytes) throw noSpace();
    await this.evictWhile(() => this.usedBytes + bytes > limitBytes, except);
  }

  private async evictWhile(isShort: () => boolean | Promise<boolean>, except: KeptPack | undefined): Promise<void> {
    let isLeased: ((folderId: string, packId: PackId) => boolean) | undefined;
    while (await isShort()) {
      isLeased ??= (await this.options.leased?.()) ?? (() => false);
      const oldest = this.oldest(except, isLeased);
      if (oldest === undefined) throw noSpace();
      await this.evict(oldest);
    }
  }

  /** What was used longest ago, and nothing that a lease needs as long as there is anything else. */
  private oldest(
    except: KeptPack | undefined,
    isLeased: (folderId: string, packId: PackId) => boolean,
  ): KeptPack | undefined {
    let oldest: { readonly kept: KeptPack; readonly leased: boolean } | undefined;
    for (const kept of this.packs.values()) {
      if (kept === except || kept.present.all.length === 0) continue;
      const leased = isLeased(kept.folderId, kept.packId);
      const goesFirst =
        oldest === undefined || (leased === oldest.leased ? kept.usedAtMs < oldest.kept.usedAtMs : oldest.leased);
      if (goesFirst) oldest = { kept, leased };
    }
    return oldest?.kept;
  }

  private async evict(kept: KeptPack): Promise<void> {
    // At once, so that nobody reads on; its files go first journal, then pack: bytes without a journal are not there.
    this.usedBytes -= kept.present.sizeBytes;
    kept.present.remove({ start: 0, end: MAX_PACK_BYTES });
    this.packs.delete(keyOf(kept.folderId, kept.packId));
    kept.journalRecords = 0;
    await rm(this.journalPath(kept), { force: true });
    await rm(this.packPath(kept), { force: true });
  }

  private load(): Promise<void> {
    this.loading ??= this.loadAll().catch((error: unknown) => {
      this.loading = undefined;
      throw error;
    });
    return this.loading;
  }

  private async loadAll(): Promise<void> {
    for (const folderId of await namesIn(this.options.directory)) {
      if (!isFolderId(folderId)) continue;
      const names = new Set(await namesIn(join(this.options.directory, folderId)));
      for (const name of names) {
        const packId = name.slice(0, 32);
        if (!PACK_ID_PATTERN.test(packId)) continue;
        if (name === packId + JOURNAL_SUFFIX) await this.loadPack(folderId, packId);
        // What an eviction or a first write left behind when the process died.
        else if (!names.has(packId + JOURNAL_SUFFIX)) await rm(join(this.options.directory, folderId, name));
      }
    }
  }

  private async loadPack(folderId: string, packId: string): Promise<void> {
    const unknown = newPack(folderId, packId);
    const path = this.journalPath(unknown);
    const journal = replayJournal(await readFile(path));
    if (journal === undefined) {
      await rm(path, { force: true });
      return;
    }
    const { present, wholeBytes } = journal;
    await truncate(path, wholeBytes);
    const usedAtMs = (await stat(path)).mtimeMs;
    const journalRecords = wholeBytes / JOURNAL_RECORD_BYTES - 1;
    this.packs.set(keyOf(folderId, packId), {
      ...unknown,
      present,
      journalRecords,
      usedAtMs,
      touchedAtMs: usedAtMs,
    });
    this.usedBytes += present.sizeBytes;
  }

  private packPath(kept: KeptPack): string {
    return join(this.options.directory, kept.folderId, kept.packId);
  }

  private journalPath(kept: KeptPack): string {
    return this.packPath(kept) + JOURNAL_SUFFIX;
  }
}

function newPack(folderId: string, packId: string): KeptPack {
  return {
    folderId,
    packId,
    present: new ByteIntervals(),
    journalRecords: 0,
    usedAtMs: 0,
    touchedAtMs: 0,
  };
}

function keyOf(folderId: string, packId: string): string {
  return `${folderId}/${packId}`;
}

function sizeOf(ranges: readonly ByteRange[]): number {
  return ranges.reduce((sum, { start, end }) => sum + end - start, 0);
}

async function freeBytesOf(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize;
}
