import { randomBytes } from 'node:crypto';
import { open, readdir, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { tempDirectory, type TempDirectory } from '@azaion/testing';
import { UnlockError } from '@azaion/unlock';
import { describeImageRuntime, dockerArchive, inPieces } from '@azaion/unlock/testing';

import { DirectoryImageRuntime } from './directory-image-runtime.js';

let directory: TempDirectory | undefined;
describeImageRuntime(
  'DirectoryImageRuntime',
  async () => {
    directory = await tempDirectory('azaion-images');
    return new DirectoryImageRuntime(directory.path);
  },
  () => directory?.remove() ?? Promise.resolve(),
  { bringsBack: false },
);

describe('DirectoryImageRuntime', () => {
  const never = new AbortController().signal;
  const archive = dockerArchive([{ reference: 'azaion/a:1', content: randomBytes(500_000) }]);
  let target: TempDirectory;
  let runtime: DirectoryImageRuntime;
  beforeEach(async () => {
    target = await tempDirectory('azaion-images');
    runtime = new DirectoryImageRuntime(target.path);
  });
  afterEach(() => target.remove());

  const load = (bytes: Buffer): Promise<unknown> => runtime.load(inPieces(bytes, 65_536), never);
  const isThere = async (): Promise<boolean> => (await runtime.present(['azaion/a:1'], never)).length === 1;

  it('holds the archive and its index, both for the owner alone', async () => {
    await load(archive.bytes);
    expect((await readdir(target.path)).toSorted()).toEqual(['azaion-images.json', 'azaion-images.tar']);
    for (const name of await readdir(target.path))
      expect((await stat(join(target.path, name))).mode & 0o777).toBe(0o600);
    expect((await readFile(join(target.path, 'azaion-images.tar'))).equals(archive.bytes)).toBe(true);
  });

  it('gives the memory of every part back once it is written', async () => {
    const parts: Uint8Array[] = [];
    const noted = async function* (): AsyncGenerator<Uint8Array> {
      for await (const part of inPieces(archive.bytes, 65_536)) {
        parts.push(part);
        yield part;
      }
    };
    await runtime.load(noted(), never);
    expect(parts.length).toBeGreaterThan(0);
    expect(parts.filter(({ length }) => length > 0)).toEqual([]);
    expect((await readFile(join(target.path, 'azaion-images.tar'))).equals(archive.bytes)).toBe(true);
  });

  it.each([0, 1, 100_000, archive.bytes.length - 2000])(
    'leaves no file behind when the archive ends after %i bytes',
    async (sizeBytes) => {
      await expect(load(archive.bytes.subarray(0, sizeBytes))).rejects.toBeInstanceOf(UnlockError);
      expect(await readdir(target.path)).toEqual([]);
    },
  );

  it('shows no half file under the final name while it writes, and keeps the old archive until the new one is complete', async () => {
    await load(archive.bytes);
    const newer = dockerArchive([{ reference: 'azaion/a:1', content: randomBytes(700_000) }]);
    const watched = async function* (): AsyncGenerator<Uint8Array> {
      for await (const piece of inPieces(newer.bytes, 65_536)) {
        const there = await readFile(join(target.path, 'azaion-images.tar'));
        expect(there.equals(archive.bytes)).toBe(true);
        expect(await isThere()).toBe(true);
        yield piece;
      }
    };
    await runtime.load(watched(), never);
    expect((await readFile(join(target.path, 'azaion-images.tar'))).equals(newer.bytes)).toBe(true);
    expect(await runtime.present(['azaion/a:1'], never)).toEqual([
      { reference: 'azaion/a:1', imageId: newer.images[0]!.configDigest },
    ]);
  });

  it('keeps the old archive when the new one is refused', async () => {
    await load(archive.bytes);
    await expect(load(randomBytes(100_000))).rejects.toBeInstanceOf(UnlockError);
    expect(await isThere()).toBe(true);
  });

  it('clears away what a killed process left behind, and nothing else', async () => {
    await writeFile(join(target.path, 'azaion-images.tar.0011.partial'), 'half');
    await writeFile(join(target.path, 'other.partial'), 'not ours');
    await load(archive.bytes);
    expect((await readdir(target.path)).toSorted()).toEqual([
      'azaion-images.json',
      'azaion-images.tar',
      'other.partial',
    ]);
  });

  it('does not count images whose archive is gone, cut or described by a damaged index', async () => {
    const tar = join(target.path, 'azaion-images.tar');
    const index = join(target.path, 'azaion-images.json');
    await load(archive.bytes);
    await truncate(tar, 1000);
    expect(await isThere()).toBe(false);
    await rm(tar);
    expect(await isThere()).toBe(false);
    await load(archive.bytes);
    for (const text of ['', '{', 'null', '[]', '{"sizeBytes":"x","images":[]}', '{"sizeBytes":1,"images":[null]}']) {
      await writeFile(index, text);
      expect(await isThere()).toBe(false);
    }
  });

  it('does not count an archive of the same size with other bytes', async () => {
    const tar = join(target.path, 'azaion-images.tar');
    await load(archive.bytes);
    const file = await open(tar, 'r+');
    await file.write(Buffer.from([archive.bytes[300_000]! ^ 1]), 0, 1, 300_000);
    await file.close();
    expect(await isThere()).toBe(false);
    await rm(tar);
    await writeFile(tar, archive.bytes);
    expect(await isThere()).toBe(true); // another file with the right bytes is as good
  });

  it('stops reading an archive that was touched when it is aborted', async () => {
    await load(archive.bytes);
    await utimes(join(target.path, 'azaion-images.tar'), 1, 1);
    const abort = new AbortController();
    const asked = runtime.present(['azaion/a:1'], abort.signal);
    abort.abort(new Error('enough'));
    await expect(asked).rejects.toThrow('enough');
  });

  it('says that the directory cannot be one', async () => {
    await writeFile(join(target.path, 'file'), '');
    const onFile = new DirectoryImageRuntime(join(target.path, 'file'));
    await expect(onFile.load(inPieces(archive.bytes, 65_536), never)).rejects.toMatchObject({
      code: 'unlock.engine-unreachable',
    });
  });
});
