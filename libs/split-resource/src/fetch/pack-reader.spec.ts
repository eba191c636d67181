import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';

import { ResourceError } from '../errors.js';
import { PackSource } from '../ports/pack-source.js';
import { InMemoryPackStore } from '../testing/index.js';
import { anyFolder, anyPack } from '../testing/contract-values.js';
import { PackReader } from './pack-reader.js';
import { PackUrls } from './pack-urls.js';
import { refusal } from '../testing/refusal.js';

const PACK_BYTES = 400_000;

/** A store whose disk is full from a moment on. */
class FillingStore extends InMemoryPackStore {
  full = false;

  override write(...args: Parameters<InMemoryPackStore['write']>): Promise<void> {
    if (this.full) return Promise.reject(new ResourceError('resource.no-space', 'The disk is full.'));
    return super.write(...args);
  }
}

describe('PackReader', () => {
  const content = randomBytes(PACK_BYTES);
  const noUrls = new PackUrls({ packUrls: () => Promise.resolve([]) }, []);
  const read = (folderId: string, pack: ReturnType<typeof anyPack>) => ({
    folderId,
    pack,
    urls: noUrls,
    upcoming: () => [],
    signal: new AbortController().signal,
    beforeDownload: () => Promise.resolve(),
    lastSourceFirst: false,
  });

  it('says that the disk is full once everything was fetched, however long a later part of the range takes', async () => {
    const store = new FillingStore();
    const [folderId, pack] = [anyFolder(), anyPack(PACK_BYTES)];
    await store.write(folderId, pack, 100_000, content.subarray(100_000, 300_000));
    store.full = true;
    class SlowSecondPart extends PackSource {
      override async open(...[, range]: Parameters<PackSource['open']>): Promise<Readable> {
        // The write of the first part fails meanwhile; a rejection without a handler would end the process.
        if (range.start > 0) for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
        return Readable.from([content.subarray(range.start, range.end)]);
      }
    }
    const reader = new PackReader(store, [new SlowSecondPart()]);
    const { bytes, stored } = await reader.read({ start: 0, end: PACK_BYTES }, read(folderId, pack));
    expect(bytes.equals(content)).toBe(true);
    await expect(stored).rejects.toMatchObject(refusal('resource.no-space'));
  });
});
