import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { cp, link, mkdir, readdir, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';

import { encodeManifest, type ResourceError } from '@azaion/split-resource';
import { pseudoRandomBytes, type TempDirectory, tempDirectory } from '@azaion/testing';
import { pack } from 'tar-stream';

import { copyBundle, DirectoryBundle, packBundle, unpackBundle } from './index.js';
import { MAX_BUNDLED_FILE_BYTES } from './directory-bundle.js';

const FOLDER = 'd955a364-7317-42c7-8a48-fed77b31f69f';
const ROOT_HASH = '0f'.repeat(32);
const PACK = `packs/${FOLDER}/${'ab'.repeat(16)}`;
const STATEMENT = `statements/${ROOT_HASH}.jws`;
const CONTENT = pseudoRandomBytes('bundle', 100_000);
const MANIFEST = encodeManifest({
  createdAt: 1,
  resources: [
    { folder: 'models', name: 'a', version: 1, kind: 'file', totalBytes: 1, folderId: FOLDER, rootHash: ROOT_HASH },
  ],
  serials: ['azj-0001'],
  files: [PACK, STATEMENT].map((path) => ({ path, sizeBytes: CONTENT.length, sha256: ROOT_HASH })),
});

let place: TempDirectory;
let good: string;
beforeAll(async () => {
  place = await tempDirectory('azaion-bundle');
  good = join(place.path, 'good');
  await writeInto(good, 'bundle.json', MANIFEST);
  for (const path of [PACK, STATEMENT]) await writeInto(good, path, CONTENT);
});
afterAll(() => place.remove());

async function writeInto(directory: string, path: string, content: string | Uint8Array): Promise<void> {
  await mkdir(dirname(join(directory, path)), { recursive: true });
  await writeFile(join(directory, path), content);
}

let names = 0;
/** A copy of the good bundle, to be spoilt. */
async function copied(): Promise<string> {
  const directory = join(place.path, `copy-${names++}`);
  await cp(good, directory, { recursive: true });
  return directory;
}

describe('DirectoryBundle', () => {
  it('reads what lies in plain directories', async () => {
    const bundle = new DirectoryBundle(good);
    expect((await bundle.read(STATEMENT, CONTENT.length)).equals(CONTENT)).toBe(true);
    expect(await bundle.digest(PACK)).toMatchObject({ sizeBytes: CONTENT.length });
    expect(await bundle.digest(`statements/${'1f'.repeat(32)}.jws`)).toBeUndefined();
    await expect(bundle.read(STATEMENT, CONTENT.length - 1)).rejects.toMatchObject({ code: 'bundle.invalid' });
  });

  it.each(['../good/bundle.json', '/etc/passwd', 'packs/../bundle.json', 'packs', ''])(
    'knows no path like %j',
    async (path) => {
      for (const read of [new DirectoryBundle(good).read(path, 10), new DirectoryBundle(good).digest(path)])
        await expect(read).rejects.toMatchObject({ code: 'bundle.invalid' });
    },
  );

  describe.each(['packs', `packs/${FOLDER}`, PACK])('whose %s is something else', (part) => {
    let directory: string;
    let socket: Server | undefined;
    beforeEach(async () => {
      directory = await copied();
      await rename(join(directory, part), join(directory, 'aside'));
    });
    afterEach(() => socket?.close());

    it.each([
      ['a link to what was there', (at: string) => symlink(join(directory, 'aside'), at)],
      ['a link to a device that never ends', (at: string) => symlink('/dev/zero', at)],
      ['a link to itself', (at: string) => symlink(at, at)],
      [
        'a named pipe that nobody writes into',
        (at: string) => {
          execFileSync('mkfifo', [at]);
          return Promise.resolve();
        },
      ],
      [
        'a socket',
        async (at: string) => {
          // Beside, and then moved: addresses of sockets are short.
          socket = createServer().listen(join(place.path, 's'));
          await once(socket, 'listening');
          await link(join(place.path, 's'), at);
        },
      ],
    ])('%s, is refused at once', async (_, make) => {
      await make(join(directory, part));
      const refused = { code: expect.stringMatching(/^bundle\.invalid$/) as string };
      await expect(new DirectoryBundle(directory).read(PACK, CONTENT.length)).rejects.toMatchObject(refused);
      await expect(new DirectoryBundle(directory).digest(PACK)).rejects.toMatchObject(refused);
      await expect(copyBundle(directory, join(place.path, `never-${names++}`))).rejects.toBeInstanceOf(Error);
    });
  });

  it('refuses a file that is longer than any in a bundle before it reads it', async () => {
    const directory = await copied();
    await truncate(join(directory, PACK), MAX_BUNDLED_FILE_BYTES + 1);
    await expect(new DirectoryBundle(directory).digest(PACK)).rejects.toMatchObject({ code: 'bundle.invalid' });
  });
});

describe('copyBundle', () => {
  it('copies what the manifest names, and nothing that lies beside it', async () => {
    const from = await copied();
    await writeInto(from, 'packs/extra', 'x');
    await symlink('/etc', join(from, 'etc'));
    const to = join(place.path, 'copied');
    await copyBundle(from, to);
    expect((await readFile(join(to, PACK))).equals(CONTENT)).toBe(true);
    expect((await readdir(to)).sort()).toEqual(['bundle.json', 'packs', 'statements']);
    expect(await readdir(join(to, 'packs'))).toEqual([FOLDER]);
  });

  it('names what is missing', async () => {
    const from = await copied();
    await rm(join(from, PACK));
    await expect(copyBundle(from, join(place.path, 'short'))).rejects.toMatchObject({
      code: 'resource.integrity',
      details: { path: PACK },
    });
  });
});

describe('unpackBundle', () => {
  type Entry = Parameters<ReturnType<typeof pack>['entry']>[0];
  const tarOf = (...entries: (readonly [Entry, string?])[]): Readable => {
    const tar = pack();
    for (const [header, content = ''] of entries) tar.entry(header, content);
    tar.finalize();
    return Readable.from(tar);
  };
  const unpacked = (archive: Readable): Promise<void> => unpackBundle(archive, join(place.path, `tar-${names++}`));
  const manifest: readonly [Entry, string] = [{ name: 'bundle.json' }, MANIFEST];

  it('takes apart what packBundle has written', async () => {
    const [file, directory] = [join(place.path, 'whole.tar'), join(place.path, 'apart')];
    await packBundle(good, file);
    await unpackBundle(Readable.from([await readFile(file)]), directory);
    expect((await readFile(join(directory, PACK))).equals(CONTENT)).toBe(true);
    expect((await readdir(directory)).sort()).toEqual(['bundle.json', 'packs', 'statements']);
  });

  it.each<readonly [string, readonly (readonly [Entry, string?])[]]>([
    ['a path out of it', [[{ name: '../outside' }, 'x']]],
    ['an absolute path', [[{ name: '/tmp/outside' }, 'x']]],
    ['a path that no bundle has', [[{ name: 'packs/x' }, 'x']]],
    ['a symbolic link', [[{ name: PACK, type: 'symlink', linkname: '/etc/passwd' }]]],
    ['a hard link', [[{ name: PACK, type: 'link', linkname: 'bundle.json' }]]],
    ['a directory', [[{ name: 'packs', type: 'directory' }]]],
    ['a named pipe', [[{ name: PACK, type: 'fifo' }]]],
    ['a device', [[{ name: PACK, type: 'character-device' }]]],
    [
      'a file twice',
      [
        [{ name: PACK }, 'x'],
        [{ name: PACK }, 'y'],
      ],
    ],
  ])('refuses %s', async (_, entries) => {
    await expect(unpacked(tarOf(manifest, ...entries))).rejects.toMatchObject({ code: 'bundle.invalid' });
  });

  it('refuses what holds no manifest, and what is no archive', async () => {
    for (const archive of [tarOf([{ name: STATEMENT }, 'x']), Readable.from([CONTENT]), Readable.from([])])
      await expect(unpacked(archive)).rejects.toMatchObject({
        code: 'bundle.invalid',
      } satisfies Partial<ResourceError>);
  });

  it('refuses an archive that was cut off anywhere', async () => {
    await packBundle(good, join(place.path, 'cut.tar'));
    const whole = await readFile(join(place.path, 'cut.tar'));
    for (const length of [1, 511, 512, 513, 2000, whole.length - 1025])
      await expect(unpacked(Readable.from([whole.subarray(0, length)]))).rejects.toMatchObject({
        code: 'bundle.invalid',
      });
  });
});
