import { hash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';

import {
  extentsOf,
  MANIFEST_PATH,
  type PackLocation,
  packPath,
  PackSource,
  type PackUrl,
  parseManifest,
  ResourceError,
} from '@azaion/split-resource';
import { pseudoRandomBytes, tempDirectory } from '@azaion/testing';

import { BundleWriter } from './bundle-writer.js';
import { DirectoryBundle } from './directory-bundle.js';

const FOLDER = '2f1c8f0e-0f7c-4a7e-9b43-3a5f0b6f2d10';
const whole = Buffer.from(pseudoRandomBytes('a pack of a bundle', 20 * 1024 * 1024));
const pack = { packId: 'ab'.repeat(16), sizeBytes: whole.length, sha256: hash('sha256', whole, 'buffer') };
const extents = extentsOf([
  { start: 1000, end: 9_500_000 },
  { start: 19_000_000, end: 19_000_100 },
]);
const left = Buffer.concat(extents.map(({ start, end }) => whole.subarray(start, end)));
const wholeUrl: PackUrl = { packId: pack.packId, url: 'memory:whole' };
const compactedUrl: PackUrl = {
  packId: pack.packId,
  url: 'memory:left',
  compacted: { extents, sha256: hash('sha256', left, 'buffer') },
};

/** Two objects; what comes before each answer may refuse it. */
class TwoObjects extends PackSource {
  constructor(
    private readonly before: (open: number) => void = () => undefined,
    private readonly objects: Readonly<Record<string, Buffer>> = { 'memory:whole': whole, 'memory:left': left },
  ) {
    super();
  }
  private opens = 0;
  override open({ url }: PackLocation, { start, end }: { start: number; end: number }): Promise<Readable> {
    return Promise.resolve().then(() => {
      this.before(++this.opens);
      return Readable.from([(this.objects[url ?? ''] as Buffer).subarray(start, end)]);
    });
  }
}

describe('BundleWriter', () => {
  let place: Awaited<ReturnType<typeof tempDirectory>>;
  beforeEach(async () => {
    place = await tempDirectory('bundle-writer');
  });
  afterEach(() => place.remove());

  const write = async (source: PackSource, urls: readonly PackUrl[]): Promise<number> => {
    const writer = new BundleWriter(place.path);
    let asked = 0;
    const locate = () => Promise.resolve(urls[Math.min(asked++, urls.length - 1)]);
    const fetched = await writer.pack(source, FOLDER, pack, locate, new AbortController().signal);
    await writer.finish(0, [], []);
    return fetched;
  };
  const written = (): Promise<Buffer> => readFile(join(place.path, packPath(FOLDER, pack.packId)));
  const expectCompacted = async (): Promise<void> => {
    const bytes = await written();
    expect(bytes).toHaveLength(whole.length);
    const zeroed = Buffer.alloc(whole.length);
    for (const { start, end } of extents) whole.copy(zeroed, start, start, end);
    expect(bytes.equals(zeroed)).toBe(true);
    const { files } = parseManifest(await readFile(join(place.path, MANIFEST_PATH), 'utf8'));
    expect(files).toEqual([
      {
        path: packPath(FOLDER, pack.packId),
        ...(await new DirectoryBundle(place.path).digest(packPath(FOLDER, pack.packId))),
      },
    ]);
  };

  it('writes a pack as it was published', async () => {
    expect(await write(new TwoObjects(), [wholeUrl])).toBe(whole.length);
    expect((await written()).equals(whole)).toBe(true);
    expect(await write(new TwoObjects(), [wholeUrl])).toBe(0); // it is there
  });

  it('writes what is left of a compacted pack to its offsets; the rest takes no room', async () => {
    expect(await write(new TwoObjects(), [compactedUrl])).toBe(left.length);
    await expectCompacted();
    const { blocks } = await stat(join(place.path, packPath(FOLDER, pack.packId)));
    expect(blocks * 512).toBeLessThan(whole.length / 2 + 1024 * 1024);
  });

  it('begins anew where the pack is compacted while it is fetched', async () => {
    const cut = new TwoObjects((open) => {
      if (open === 2) throw new ResourceError('pack.forbidden', 'The URL has ended.');
    });
    expect(await write(cut, [wholeUrl, compactedUrl])).toBe(left.length);
    await expectCompacted();
  });

  it('gives up after some failures, wherever they happen', async () => {
    const failing = new TwoObjects((open) => {
      if (open % 2 === 0) throw new ResourceError('pack.unavailable', 'The CDN is down.');
    });
    await expect(write(failing, [compactedUrl])).rejects.toMatchObject({ code: 'pack.unavailable' });
  });

  it.each([
    ['does not have it', 'pack.not-found', 1],
    ['has its beginning only', 'pack.truncated', 4],
  ] as const)('says that a pack is missing where the CDN %s', async (_, code, opens) => {
    let asked = 0;
    const failing = new TwoObjects((open) => {
      asked = open;
      throw new ResourceError(code, 'It is not there.');
    });
    await expect(write(failing, [wholeUrl])).rejects.toMatchObject({ code: 'cdn.missing', cause: { code } });
    expect(asked).toBe(opens);
  });

  it.each([
    ['a pack', wholeUrl],
    ['what is left of a pack', compactedUrl],
  ])('refuses %s that is not what was written', async (_, url) => {
    const changed = Buffer.from(url === wholeUrl ? whole : left);
    changed[5_000_000] = (changed[5_000_000] ?? 0) ^ 1;
    await expect(write(new TwoObjects(undefined, { [url.url]: changed }), [url])).rejects.toMatchObject({
      code: 'resource.integrity',
    });
  });
});
