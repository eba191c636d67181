import { createHash } from 'node:crypto';

import type { StatementImage } from '@azaion/crypto';
import { UnlockError } from '@azaion/unlock';
import { type Extract, extract, type ExtractEvents, type Header } from 'tar-stream';

import { invalid, readImageIndex, type SmallFile } from './image-index.js';
import { admitName, MAX_ENTRIES, MAX_SMALL_FILE_BYTES, MAX_SMALL_FILES_BYTES, mayBeJson } from './small-files.js';

const GZIP = Buffer.from([0x1f, 0x8b]);

/** Reads an image archive piece by piece and tells at the end which images it holds. Memory is bounded for any input. */
export class ImageArchiveReader {
  private readonly tar: Extract = extract();
  private readonly files = new Map<string, SmallFile>();
  private readonly names = new Set<string>();
  private keptBytes = 0;
  private openEntry = false;
  private drained = true;
  private started = false;
  private failure: Error | undefined;
  private wake: () => void = () => undefined;

  constructor() {
    this.tar.on('entry', (headers, entry, next) => {
      this.readEntry(headers, entry, next);
    });
    this.tar.on('error', (error: Error) => {
      this.failure ??= error instanceof UnlockError ? error : tarError(error);
      this.wake();
    });
    this.tar.on('drain', () => {
      this.drained = true;
      this.wake();
    });
  }

  /** @param bytes - Untrusted. @throws UnlockError `unlock.archive-invalid`. */
  async write(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return;
    if (!this.started) this.refuseGzip(bytes);
    this.started = true;
    this.drained = false;
    if (!this.tar.write(bytes)) await this.until(() => this.drained);
    if (this.failure !== undefined) throw this.failure;
  }

  /** @returns The images, with digests computed from the bytes read. @throws UnlockError `unlock.archive-invalid` | `unlock.archive-truncated`. */
  async end(): Promise<readonly StatementImage[]> {
    let finished = false;
    this.tar.once('finish', () => {
      finished = true;
      this.wake();
    });
    this.tar.end(null);
    await this.until(() => finished && !this.openEntry);
    return readImageIndex(this.files);
  }

  /** Lets go of everything; for an archive that is not read to its end. */
  destroy(): void {
    this.tar.destroy(null);
  }

  private async until(reached: () => boolean): Promise<void> {
    while (!reached() || this.failure !== undefined) {
      if (this.failure !== undefined) throw this.failure;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  private readEntry(headers: Header, entry: ExtractEvents['entry'][1], next: (error?: Error) => void): void {
    this.openEntry = true;
    // What breaks an entry breaks the archive, which reports it.
    entry.on('error', () => undefined);
    const finish = (error?: UnlockError): void => {
      this.openEntry = false;
      next(error);
      this.wake();
    };
    let name: string | undefined;
    try {
      name = this.admit(headers);
    } catch (error) {
      finish(error as UnlockError);
      return;
    }
    if (name === undefined) {
      entry.on('end', () => finish());
      entry.resume();
      return;
    }
    const keptName = name;
    const hash = createHash('sha256');
    const pieces: Buffer[] = [];
    let isJson: boolean | undefined;
    entry.on('data', (data) => {
      const piece = data as Buffer;
      isJson ??= mayBeJson(piece);
      if (!isJson) return;
      hash.update(piece);
      pieces.push(Buffer.from(piece)); // a copy: whoever gets the archive next may give its memory back
      this.keptBytes += piece.length;
    });
    entry.on('end', () => {
      if (this.keptBytes > MAX_SMALL_FILES_BYTES) {
        finish(invalid('it holds too many small files'));
        return;
      }
      if (isJson === true) this.files.set(keptName, { bytes: Buffer.concat(pieces), sha256: hash.digest('hex') });
      finish();
    });
  }

  /** Checks an entry's name. @returns It, when the entry may be a manifest or configuration; `undefined` for what is passed over. */
  private admit(headers: Header): string | undefined {
    const name = admitName(headers.name);
    if (headers.type === 'directory') return undefined;
    // An engine might take the one that was not looked at.
    if (this.names.has(name)) throw invalid('it holds one file twice');
    this.names.add(name);
    if (this.names.size > MAX_ENTRIES) throw invalid('it holds too many files');
    const isFile = headers.type === 'file' || headers.type === 'contiguous-file';
    if (!isFile && (name === 'manifest.json' || name === 'index.json')) throw invalid('its manifest is no plain file');
    return isFile && headers.size <= MAX_SMALL_FILE_BYTES ? name : undefined;
  }

  private refuseGzip(bytes: Uint8Array): void {
    if (GZIP.equals(bytes.subarray(0, GZIP.length)))
      throw invalid('it is compressed, which hides from every device what it has already: use the plain tar');
  }
}

function tarError(cause: Error): UnlockError {
  return cause.message.includes('Unexpected end of data')
    ? new UnlockError('unlock.archive-truncated', 'The archive ended too early. Fetch or copy it again.', { cause })
    : invalid('it is not a tar file', cause);
}
