import { randomBytes } from 'node:crypto';

import { ChunkOpener, InlineChunkOpener, type OpenedChunks, type SealedRun } from '../chunk-work.js';
import { InMemoryPackStore, InMemoryPlaintextFile } from '../testing/index.js';
import { RESOURCE, TINY, World } from '../testing/world.js';
import type { FetchProgress } from './open-range.js';
import type { OpenedResource } from './fetch-resource.js';
import { refusal } from '../testing/refusal.js';

const SEALED_TINY_BYTES = 64 + 29;

/** Goes on by itself as a thread does: the next chunk of a run only when it is let. */
class SlowOpener extends ChunkOpener {
  readonly begun: (() => void)[] = [];
  private readonly inner = new InlineChunkOpener();

  override open(run: SealedRun): AsyncGenerator<OpenedChunks, void> {
    const release = new Promise<void>((resolve) => this.begun.push(resolve));
    const working = release.then(() => all(this.inner.open(run)));
    run.into?.file.usedBy(working);
    working.catch(() => undefined);
    return given(working);
  }
}

async function all(opened: AsyncIterable<OpenedChunks>): Promise<OpenedChunks[]> {
  const parts: OpenedChunks[] = [];
  for await (const part of opened) parts.push(part);
  return parts;
}

async function* given(working: Promise<OpenedChunks[]>): AsyncGenerator<OpenedChunks, void> {
  yield* await working;
}

async function published(content: Buffer, chunking?: typeof TINY): Promise<World> {
  const world = await World.create(chunking === undefined ? {} : { chunking });
  await world.publish(content);
  return world;
}

function open(world: World, changed: Parameters<World['fetcher']>[0] = {}): Promise<OpenedResource> {
  return world.fetcher(changed).run({ resource: RESOURCE, recipient: world.recipient });
}

describe('OpenedResource.writeTo', () => {
  it.each([0, 1, 64, 6_000_000])('writes %i bytes, and tells how far it is', async (bytes) => {
    const content = randomBytes(bytes);
    const world = await published(content);
    const file = new InMemoryPlaintextFile();
    const seen: FetchProgress[] = [];
    await (await open(world)).writeTo(file, (progress) => seen.push(progress));
    expect(file.content.equals(content)).toBe(true);
    expect(seen.at(-1)?.openedBytes ?? 0).toBe(bytes);
  });

  it.each([[[30]], [[0]], [[99]], [[10, 11, 50]]])('writes chunks %j that had to be fetched anew', async (damaged) => {
    const content = randomBytes(64 * 100);
    const world = await published(content, TINY);
    await world.fetch();
    const [key = ''] = world.objects.keys();
    for (const index of damaged)
      world.store.damage(world.admin.folderId, key.slice(-32), index * SEALED_TINY_BYTES + 50);
    const file = new InMemoryPlaintextFile();
    await (await open(world)).writeTo(file);
    expect(file.content.equals(content)).toBe(true);
  });

  it('fails for content that stays bad, and has written nothing of it', async () => {
    const content = randomBytes(64 * 100);
    const world = await published(content, TINY);
    const [key = ''] = world.objects.keys();
    world.objects.tamper(key, (bytes) => {
      const changed = new Uint8Array(bytes);
      changed[50 * SEALED_TINY_BYTES + 40]! ^= 1;
      return changed;
    });
    const file = new InMemoryPlaintextFile();
    const opened = await open(world, { store: new InMemoryPackStore() });
    await expect(opened.writeTo(file)).rejects.toMatchObject(refusal('resource.integrity'));
    expect(file.content.equals(content.subarray(0, 50 * 64))).toBe(true);
  });

  it('fails with what the file says', async () => {
    const world = await published(randomBytes(1000), TINY);
    const full = Object.assign(new Error('no space left'), { code: 'ENOSPC' });
    class FullFile extends InMemoryPlaintextFile {
      override write(): Promise<void> {
        return Promise.reject(full);
      }
    }
    await expect((await open(world)).writeTo(new FullFile())).rejects.toBe(full);
  });

  it('ends only when nobody writes into the file any more', async () => {
    const world = await published(randomBytes(4_000_000));
    await world.fetch();
    const opener = new SlowOpener();
    const stopping = new AbortController();
    const file = new InMemoryPlaintextFile();
    let ended = false;
    let wroteFirst = (): void => undefined;
    const first = new Promise<void>((resolve) => (wroteFirst = resolve));
    const writing = (await open(world, { opener }))
      .writeTo(file, () => wroteFirst(), stopping.signal)
      .finally(() => (ended = true));
    const untilBegun = async (runs: number): Promise<void> => {
      while (opener.begun.length < runs) await new Promise((resolve) => setImmediate(resolve));
    };
    await untilBegun(1);
    opener.begun[0]?.();
    await first;
    await untilBegun(3);
    stopping.abort(new Error('stopped'));
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(ended).toBe(false);
    for (const go of opener.begun) go();
    await expect(writing).rejects.toThrow('stopped');
    const { content } = file;
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(file.content).toBe(content);
  });
});
