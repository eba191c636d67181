import { createHash, hash, randomBytes } from 'node:crypto';

import { packObjectKey } from '../pack.js';
import { anyFolder, anyPack } from './contract-values.js';
import {
  describeObjectStore,
  describePackSink,
  describePackSource,
  describePackStore,
  describeSegmentStore,
  InMemoryObjectStore,
  InMemoryPackSink,
  InMemoryPackSource,
  InMemoryPackStore,
  InMemorySegmentStore,
} from './index.js';

describePackStore('InMemoryPackStore', (limitBytes) => Promise.resolve(new InMemoryPackStore(limitBytes)));

describeSegmentStore('InMemorySegmentStore', () => Promise.resolve(new InMemorySegmentStore()));

describe.each([true, false])('with needsMd5 %s:', (needsMd5) => {
  describeObjectStore('InMemoryObjectStore', () => {
    const store = new InMemoryObjectStore(undefined, needsMd5);
    return Promise.resolve({ store, sink: new InMemoryPackSink(store), source: new InMemoryPackSource(store) });
  });
});

const signed = (objects: InMemoryObjectStore, key: string, bytes: Buffer) =>
  objects.signPut(
    key,
    {
      sizeBytes: bytes.length,
      sha256: hash('sha256', bytes, 'hex'),
      md5: createHash('md5').update(bytes).digest('base64'),
    },
    60,
  );

describePackSource('InMemoryPackSource', () => {
  const objects = new InMemoryObjectStore();
  return Promise.resolve({
    source: new InMemoryPackSource(objects),
    locate: async (folderId, pack, bytes) => {
      const key = packObjectKey(folderId, pack.packId);
      if (bytes) objects.put(await signed(objects, key, bytes), bytes);
      return { folderId, pack, url: await objects.signGet(key, 60) };
    },
  });
});

describePackSink('InMemoryPackSink', () => {
  const objects = new InMemoryObjectStore();
  const keys = new Map<string, string>();
  return Promise.resolve({
    sink: new InMemoryPackSink(objects),
    target: async (bytes) => {
      const key = packObjectKey(anyFolder(), anyPack(1).packId);
      const target = await signed(objects, key, bytes);
      keys.set(target.url, key);
      return target;
    },
    written: async (target) => {
      const key = keys.get(target.url)!;
      const object = await objects.head(key);
      return object && objects.get(await objects.signGet(key, 60), { start: 0, end: object.sizeBytes });
    },
    refused: () => Promise.resolve({ url: `memory:packs/${randomBytes(4).toString('hex')}`, headers: {} }),
  });
});
