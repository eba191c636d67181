import { randomBytes } from 'node:crypto';
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';

import { legacyArchiveKey, legacyEncrypt } from '@azaion/crypto';
import { tempDirectory, type TempDirectory } from '@azaion/testing';
import type { ExpectedImage, OpenArchive, UnlockError } from '@azaion/unlock';
import { InMemoryKeySource } from '@azaion/unlock/testing';
import fc from 'fast-check';

import { LegacyArchiveSource } from './legacy-archive-source.js';
import { parseAllowList } from './allow-list.js';

const NEVER = new AbortController().signal;
const BLOCK_BYTES = 16;
const MIB = 1024 * 1024;
const FRAGMENT = randomBytes(48);
const IMAGES: readonly ExpectedImage[] = [{ reference: 'a:1', configDigest: null, manifestDigest: null }];

let directory: TempDirectory;
let path: string;
beforeEach(async () => {
  directory = await tempDirectory('azaion-legacy');
  path = join(directory.path, 'images.enc');
});
afterEach(() => directory.remove());

/** What the older publisher writes: `IV ‖ AES-256-CBC(plaintext)`. */
async function encrypted(plaintext: Uint8Array, fragment: Uint8Array = FRAGMENT, iv?: Buffer): Promise<Buffer> {
  return buffer(Readable.from([Buffer.from(plaintext)]).pipe(legacyEncrypt(legacyArchiveKey(fragment), iv)));
}

function source(fragments = new Map([['images', FRAGMENT]])): LegacyArchiveSource {
  return new LegacyArchiveSource(
    { path, name: 'images', images: () => Promise.resolve(IMAGES) },
    new InMemoryKeySource(fragments),
  );
}

async function open(): Promise<OpenArchive> {
  return (await source().find(NEVER)).open(NEVER);
}

async function read(archive: OpenArchive, range?: { start: number; end: number }): Promise<Buffer> {
  return buffer(archive.read(NEVER, range));
}

describe('LegacyArchiveSource (F4, older format)', () => {
  it.each([0, 1, 15, 16, 17, 511, 512, MIB - 17, MIB - 16, MIB - 1, MIB, MIB + 1, 3 * MIB + 5])(
    'opens an archive of %i bytes',
    async (sizeBytes) => {
      const plaintext = randomBytes(sizeBytes);
      await writeFile(path, await encrypted(plaintext));
      const archive = await open();
      expect(archive.totalBytes).toBe(sizeBytes);
      expect((await read(archive)).equals(plaintext)).toBe(true);
    },
  );

  it('opens any range of it', async () => {
    const plaintext = randomBytes(2 * MIB + 7);
    await writeFile(path, await encrypted(plaintext));
    const archive = await open();
    const place = fc.oneof(
      fc.nat(plaintext.length),
      fc.nat(100).map((blocks) => blocks * BLOCK_BYTES),
      fc.constantFrom(0, MIB - 16, MIB, MIB + 16, plaintext.length - 1, plaintext.length),
    );
    await fc.assert(
      fc.asyncProperty(place, place, async (one, other) => {
        const [start, end] = [Math.min(one, other), Math.max(one, other)];
        expect((await read(archive, { start, end })).equals(plaintext.subarray(start, end))).toBe(true);
      }),
      { numRuns: 150 },
    );
  });

  it('says what must be in it, and asks for no key until it is opened', async () => {
    await writeFile(path, await encrypted(randomBytes(100)));
    const found = await source(new Map()).find(NEVER);
    expect(found.images).toEqual(IMAGES);
    await expect(found.open(NEVER)).rejects.toMatchObject({ code: 'unlock.key-not-found' });
  });

  it('has another identity when the file is another, and the same while it is not touched', async () => {
    await writeFile(path, await encrypted(randomBytes(100)));
    const first = (await source().find(NEVER)).identity;
    expect((await source().find(NEVER)).identity).toBe(first);
    await writeFile(path, await encrypted(randomBytes(100)));
    expect((await source().find(NEVER)).identity).not.toBe(first);
  });

  it('says that there is no archive', async () => {
    await expect(source().find(NEVER)).rejects.toMatchObject({ code: 'unlock.archive-not-found' });
  });

  it('says that the file is not one that can be read', async () => {
    await writeFile(path, '');
    path = join(path, 'below-a-file');
    await expect(source().find(NEVER)).rejects.toMatchObject({ code: 'unlock.archive-unreadable' });
  });

  it('refuses the archive of another key, and a damaged one, in the same words', async () => {
    const plaintext = randomBytes(1000);
    const file = await encrypted(plaintext);
    const words: string[] = [];
    for (const damage of [
      (bytes: Buffer): Buffer => bytes.subarray(0, -1),
      (bytes: Buffer): Buffer => bytes.subarray(0, BLOCK_BYTES),
      (): Buffer => Buffer.alloc(0),
      (bytes: Buffer): Buffer => withBrokenPadding(bytes),
    ]) {
      await writeFile(path, damage(file));
      const refusal: unknown = await open().catch((error: unknown) => error);
      expect(refusal).toMatchObject({ code: 'unlock.archive-invalid' });
      words.push(String(refusal));
    }
    // A wrong key makes noise, which in one case of 256 looks like padding: with these bytes it does not.
    await writeFile(path, await encrypted(new Uint8Array(1000), Buffer.from('another'), Buffer.alloc(BLOCK_BYTES)));
    const refusal: unknown = await (
      await source(new Map([['images', Buffer.from('ours')]])).find(NEVER)
    )
      .open(NEVER)
      .catch((error: unknown) => error);
    expect(new Set([...words, String(refusal)]).size).toBe(1);
  });

  it('notices a file that is replaced while it is read', async () => {
    await writeFile(path, await encrypted(randomBytes(1000)));
    const archive = await open();
    await writeFile(path, await encrypted(randomBytes(1000)));
    await expect(read(archive)).rejects.toMatchObject({ code: 'unlock.archive-invalid' });
  });

  it('notices a file that is cut while it is read', async () => {
    await writeFile(path, await encrypted(randomBytes(3 * MIB)));
    const archive = await open();
    const cutting = async (): Promise<void> => {
      for await (const piece of archive.read(NEVER)) {
        expect(piece.length).toBeGreaterThan(0);
        await truncate(path, MIB);
      }
    };
    await expect(cutting()).rejects.toMatchObject({ code: 'unlock.archive-truncated' });
  });

  it('stops with the reason of an abort', async () => {
    await writeFile(path, await encrypted(randomBytes(1000)));
    const archive = await open();
    await expect(buffer(archive.read(AbortSignal.abort(new Error('enough'))))).rejects.toThrow('enough');
  });

  it('counts what it has read', async () => {
    await writeFile(path, await encrypted(randomBytes(1000)));
    const archive = await open();
    await read(archive, { start: 0, end: 16 });
    expect(archive.traffic()).toEqual({ downloadedBytes: 0, cachedBytes: 16 });
  });
});

/** The last byte of the padding follows the one in the block before bit by bit. */
function withBrokenPadding(file: Buffer): Buffer {
  const changed = Buffer.from(file);
  const last = file.length - BLOCK_BYTES - 1;
  changed[last] = file[last]! ^ 0x80;
  return changed;
}

describe('parseAllowList', () => {
  const digest = `sha256:${'a'.repeat(64)}`;

  it('reads references and digests, and passes over comments and empty lines', () => {
    expect(parseAllowList(`# ours\n\nazaion/a:1  ${digest}\r\n docker.io/azaion/b ${digest} \n`)).toEqual([
      { reference: 'azaion/a:1', configDigest: digest, manifestDigest: null },
      { reference: 'azaion/b:latest', configDigest: digest, manifestDigest: null },
    ]);
  });

  it.each([
    ['nothing', ''],
    ['only comments', '# a\n'],
    ['a reference alone', 'azaion/a:1\n'],
    ['a short digest', 'azaion/a:1 sha256:abc\n'],
    ['an upper-case digest', `azaion/a:1 sha256:${'A'.repeat(64)}\n`],
    ['a third word', `azaion/a:1 ${digest} x\n`],
    ['an option', `--help ${digest}\n`],
    ['one image twice', `azaion/a ${digest}\nazaion/a:latest ${digest}\n`],
    ['too much', `azaion/a ${digest}\n${'#'.repeat(256 * 1024)}`],
    ['too many', Array.from({ length: 257 }, (_, index) => `azaion/a:${index} ${digest}`).join('\n')],
  ])('refuses %s', (_, text) => {
    expect(() => parseAllowList(text)).toThrow(
      expect.objectContaining({ code: 'unlock.allow-list-invalid' }) as UnlockError,
    );
  });

  it('names the line that it does not understand', () => {
    expect(() => parseAllowList(`azaion/a:1 ${digest}\noops\n`)).toThrow('line 2');
  });
});
