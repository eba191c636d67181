import { open } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Journals reach the disk together, at the latest so long or so many bytes of packs after a record: what a power cut may cost beside the ranges in flight. */
const AFTER_MS = 100;
const AFTER_BYTES = 16 * 1024 * 1024;

/** Brings journals onto the disk soon after they were written, many together: one flush for each record would take longer than a fetch. */
export class JournalFlushes {
  private readonly waiting = new Set<string>();
  private waitingBytes = 0;
  private timer: NodeJS.Timeout | undefined;
  private flushing: Promise<void> = Promise.resolve();

  /** @param flush - Brings a file or directory onto the disk. */
  constructor(private readonly flush: (path: string) => Promise<void> = flushed) {}

  /** Flushes a journal, with its directory, later. @param bytes - Of the pack, that the record speaks of. */
  soon(journal: string, bytes: number): void {
    this.waiting.add(journal);
    this.waitingBytes += bytes;
    if (this.waitingBytes >= AFTER_BYTES) this.begin();
    else this.timer ??= setTimeout(() => this.begin(), AFTER_MS).unref();
  }

  /** Flushes a file alone, before this resolves. @throws as the file system. */
  now(path: string): Promise<void> {
    return this.flush(path);
  }

  private begin(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const journals = [...this.waiting];
    this.waiting.clear();
    this.waitingBytes = 0;
    const paths = [...journals, ...new Set(journals.map((journal) => dirname(journal)))];
    this.flushing = this.flushing.then(async () => {
      // A journal that was evicted meanwhile, or a disk that fails, costs a download, never a wrong byte.
      for (const path of paths) await this.flush(path).catch(() => undefined);
    });
  }
}

async function flushed(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.datasync();
  } finally {
    await file.close();
  }
}
