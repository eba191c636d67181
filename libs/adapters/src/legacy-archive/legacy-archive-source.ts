import { createSecretKey, type KeyObject } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';

import { legacyArchiveKey, legacyBlockDecipher } from '@azaion/crypto';
import type { ByteRange, Secret } from '@azaion/kernel';
import {
  ArchiveSource,
  type ExpectedImage,
  type FoundArchive,
  type KeySource,
  type OpenArchive,
  UnlockError,
} from '@azaion/unlock';

const BLOCK_BYTES = 16;
/** Of `IV ‖ C` with one block. */
const MIN_FILE_BYTES = 2 * BLOCK_BYTES;
const READ_BYTES = 1024 * 1024;

/** A legacy archive and what must be in it. */
export interface LegacyArchiveOptions {
  readonly path: string;
  /** Name of the archive at the Admin API. */
  readonly name: string;
  /** Read anew for each run. @throws UnlockError. */
  readonly images: () => Promise<readonly ExpectedImage[]>;
}

/**
 * F4, older format: `images.enc` on the device's disk, opened with the key fragment that the Admin API releases (docs/formats/legacy.md).
 * Any range of it can be read; plaintext is in memory only, one piece at a time. It has no tag: what comes out is **not authenticated**.
 */
export class LegacyArchiveSource extends ArchiveSource {
  constructor(
    private readonly options: LegacyArchiveOptions,
    private readonly keys: KeySource,
  ) {
    super();
  }

  override async find(signal: AbortSignal): Promise<FoundArchive> {
    const stamp = stampOf(await this.stat());
    const images = await this.options.images();
    signal.throwIfAborted();
    return {
      images,
      identity: `legacy ${stamp}`,
      version: null,
      open: async (openSignal) => this.open(await this.keys.fragment(this.options.name, openSignal), stamp),
    };
  }

  private async open(fragment: Secret<Uint8Array>, stamp: string): Promise<OpenArchive> {
    return new LegacyArchiveFile(this.options.path, stamp, keyOf(fragment)).open();
  }

  private async stat(): Promise<BigIntStats> {
    try {
      return await stat(this.options.path, { bigint: true });
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT')
        throw new UnlockError('unlock.archive-not-found', 'Encrypted archive not found', { cause });
      throw unreadable(cause);
    }
  }
}

class LegacyArchiveFile {
  private cachedBytes = 0;

  constructor(
    private readonly path: string,
    private readonly stamp: string,
    private readonly aesKey: KeyObject,
  ) {}

  async open(): Promise<OpenArchive> {
    const totalBytes = await this.plaintextBytes();
    return {
      totalBytes,
      read: (signal, range = { start: 0, end: totalBytes }) => this.read(range, signal),
      traffic: () => ({ downloadedBytes: 0, cachedBytes: this.cachedBytes }),
    };
  }

  /** The last block says how much of it is padding (PKCS#7). Whatever is wrong is answered alike. */
  private async plaintextBytes(): Promise<number> {
    return this.withFile(async (file, sizeBytes) => {
      if (sizeBytes < MIN_FILE_BYTES || sizeBytes % BLOCK_BYTES !== 0) throw unopenable();
      const end = await readExactly(file, sizeBytes - 2 * BLOCK_BYTES, 2 * BLOCK_BYTES);
      const decipher = legacyBlockDecipher(this.aesKey, end.subarray(0, BLOCK_BYTES));
      const block = decipher(end.subarray(BLOCK_BYTES));
      const padding = block.at(-1) ?? 0;
      if (padding < 1 || padding > BLOCK_BYTES || block.subarray(-padding).some((byte) => byte !== padding))
        throw unopenable();
      return sizeBytes - BLOCK_BYTES - padding;
    });
  }

  private async *read({ start, end }: ByteRange, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    if (start === end) return;
    const file = await this.opened();
    try {
      // The block before the range is what the first one was chained to; at the start of the file that is the IV.
      const before = Math.floor(start / BLOCK_BYTES) * BLOCK_BYTES;
      const decipher = legacyBlockDecipher(this.aesKey, await readExactly(file, before, BLOCK_BYTES));
      const fileEnd = BLOCK_BYTES + Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES;
      let plaintextAt = before;
      for (let at = before + BLOCK_BYTES; at < fileEnd;) {
        signal.throwIfAborted();
        const encrypted = await readExactly(file, at, Math.min(READ_BYTES, fileEnd - at));
        const plaintext = decipher(encrypted);
        at += encrypted.length;
        this.cachedBytes += encrypted.length;
        const from = Math.max(0, start - plaintextAt);
        const to = Math.min(plaintext.length, end - plaintextAt);
        plaintextAt += plaintext.length;
        yield plaintext.subarray(from, to);
      }
    } finally {
      await file.close();
    }
  }

  private async withFile<T>(use: (file: FileHandle, sizeBytes: number) => Promise<T>): Promise<T> {
    const file = await this.opened();
    try {
      return await use(file, (await file.stat()).size);
    } finally {
      await file.close();
    }
  }

  /** @throws UnlockError when it is not the file any more that was found. */
  private async opened(): Promise<FileHandle> {
    let file: FileHandle;
    try {
      file = await open(this.path, 'r');
    } catch (cause) {
      throw unreadable(cause);
    }
    if (stampOf(await file.stat({ bigint: true })) === this.stamp) return file;
    await file.close();
    throw new UnlockError('unlock.archive-invalid', 'The archive was replaced while it was read. Start again.');
  }
}

/** The archive's key, held by OpenSSL, which clears it when it is let go; fragment and key are overwritten here. */
function keyOf(fragment: Secret<Uint8Array>): KeyObject {
  const bytes = legacyArchiveKey(fragment.reveal());
  const key = createSecretKey(bytes);
  bytes.fill(0);
  fragment.reveal().fill(0);
  return key;
}

async function readExactly(file: FileHandle, position: number, sizeBytes: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(sizeBytes);
  for (let done = 0; done < sizeBytes;) {
    const { bytesRead } = await file.read(bytes, done, sizeBytes - done, position + done).catch((cause: unknown) => {
      throw unreadable(cause);
    });
    if (bytesRead === 0)
      throw new UnlockError('unlock.archive-truncated', 'The archive ended too early. Fetch or copy it again.');
    done += bytesRead;
  }
  return bytes;
}

/** The file as the system knows it: while this stays, nobody has written to it. */
function stampOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join('-');
}

function unopenable(): UnlockError {
  return new UnlockError(
    'unlock.archive-invalid',
    'The archive does not open with the key of the Admin API: it belongs to another key, or is damaged. Copy it again, or register it anew.',
  );
}

function unreadable(cause: unknown): UnlockError {
  return new UnlockError(
    'unlock.archive-unreadable',
    'The archive on this device cannot be read. Check the file, its permissions and its disk.',
    { cause },
  );
}
