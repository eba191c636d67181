/// <reference types="jest" />
import { randomBytes, randomUUID } from 'node:crypto';

import type { ByteRange } from '@azaion/kernel';

import { UNLOCK_ERRORS, UnlockError } from '../errors.js';
import { canonicalReference } from '../expected-image.js';
import type { ImageRuntime } from '../ports/image-runtime.js';
import { dockerArchive, readDockerArchive, type TestArchive } from './docker-archive.js';
import { inPieces } from './in-memory-archive.js';

/**
 * The contract of {@link ImageRuntime}. `open` is called once, before all tests, `close` after them.
 *
 * @param traits - `bringsBack`: an image that lost its reference can get it back.
 */
export function describeImageRuntime(
  name: string,
  open: () => Promise<ImageRuntime>,
  close: () => Promise<void> = () => Promise.resolve(),
  { bringsBack = true }: { readonly bringsBack?: boolean } = {},
): void {
  describe(`${name} as ImageRuntime`, () => {
    const never = new AbortController().signal;
    let runtime: ImageRuntime;
    beforeAll(async () => {
      runtime = await open();
    });
    afterAll(close);

    const freshArchive = (images = 1): TestArchive => {
      const run = randomUUID().slice(0, 8);
      return dockerArchive(
        Array.from({ length: images }, (_, index) => ({
          reference: `azaion/contract-${run}:${index + 1}.0`,
          content: randomBytes(300_000),
        })),
      );
    };
    const idsIn = async (archive: TestArchive): Promise<readonly string[]> => {
      const found = await runtime.present(
        archive.images.map(({ reference }) => reference),
        never,
      );
      return found.map(({ imageId }) => imageId);
    };

    it('has no image that it was not given', async () => {
      expect(await idsIn(freshArchive())).toEqual([]);
    });

    it('loads every image of an archive and reports the digests of their configurations', async () => {
      const archive = freshArchive(3);
      const loaded = await runtime.load(inPieces(archive.bytes, 65_536), never);
      const expected = archive.images.map(({ reference, configDigest }) => [reference, configDigest]);
      expect(loaded.map(({ reference, imageId }) => [canonicalReference(reference), imageId]).toSorted()).toEqual(
        expected.toSorted(),
      );
      expect(await idsIn(archive)).toEqual(archive.images.map(({ configDigest }) => configDigest));
    });

    it('loads an archive again that is there already', async () => {
      const archive = freshArchive();
      await runtime.load(inPieces(archive.bytes, 65_536), never);
      await runtime.load(inPieces(archive.bytes, 65_536), never);
      expect(await idsIn(archive)).toEqual([archive.images[0]!.configDigest]);
    });

    it('leaves out what is missing and keeps what is there', async () => {
      const archive = freshArchive();
      await runtime.load(inPieces(archive.bytes, 65_536), never);
      const { reference, configDigest } = archive.images[0]!;
      const missing = `azaion/missing-${randomUUID()}:1`;
      expect(await runtime.present([missing, reference], never)).toEqual([{ reference, imageId: configDigest }]);
    });

    it('takes references away, and does not mind those that are not there', async () => {
      const archive = freshArchive(2);
      await runtime.load(inPieces(archive.bytes, 65_536), never);
      const gone = [...archive.images.map(({ reference }) => reference), 'azaion/never-there:1'];
      await runtime.assign(
        gone.map((reference) => ({ reference, imageId: null })),
        never,
      );
      expect(await idsIn(archive)).toEqual([]);
    });

    it('takes an archive without the layers that it says it has, and names none that it lacks', async () => {
      const archive = freshArchive(2);
      const read = readDockerArchive(archive.bytes)!;
      const known = async (): Promise<ByteRange[]> => {
        const chains = await runtime.layers(never);
        return read.filter(({ chainId }) => chains?.has(chainId)).map(({ layer }) => layer!);
      };
      expect(await known()).toEqual([]);
      await runtime.load(inPieces(archive.bytes, 65_536), never);
      const there = await known();
      const less = Buffer.concat([
        ...there.map(({ start }, index) => archive.bytes.subarray(there[index - 1]?.end ?? 0, start)),
        archive.bytes.subarray(there.at(-1)?.end ?? 0),
      ]);
      await runtime.load(inPieces(less, 65_536), never);
      expect(await idsIn(archive)).toEqual(archive.images.map(({ configDigest }) => configDigest));
    });

    if (bringsBack)
      it('brings an earlier image back under its reference', async () => {
        const earlier = freshArchive();
        const { reference, configDigest } = earlier.images[0]!;
        await runtime.load(inPieces(earlier.bytes, 65_536), never);
        await runtime.load(inPieces(dockerArchive([{ reference, content: randomBytes(1000) }]).bytes, 65_536), never);
        expect(await idsIn(earlier)).not.toEqual([configDigest]);
        await runtime.assign([{ reference, imageId: configDigest }], never);
        expect(await idsIn(earlier)).toEqual([configDigest]);
      });

    it('throws what the archive throws, and holds none of its images', async () => {
      const archive = freshArchive();
      const broken = new Error('the archive broke');
      const breaking = async function* (): AsyncGenerator<Uint8Array> {
        yield* inPieces(archive.bytes.subarray(0, 200_000), 10_000);
        throw broken;
      };
      await expect(runtime.load(breaking(), never)).rejects.toBe(broken);
      expect(await idsIn(archive)).toEqual([]);
    });

    it('stops with the reason of an abort, even while the archive hangs', async () => {
      const archive = freshArchive();
      const abort = new AbortController();
      const reason = new Error('enough');
      const hanging = async function* (): AsyncGenerator<Uint8Array> {
        yield* inPieces(archive.bytes.subarray(0, 200_000), 10_000);
        abort.abort(reason);
        await new Promise(() => undefined);
      };
      await expect(runtime.load(hanging(), abort.signal)).rejects.toBe(reason);
      expect(await idsIn(archive)).toEqual([]);
    });

    it('refuses to start after an abort', async () => {
      const archive = freshArchive();
      await expect(
        runtime.load(inPieces(archive.bytes, 65_536), AbortSignal.abort(new Error('before'))),
      ).rejects.toThrow('before');
      expect(await idsIn(archive)).toEqual([]);
    });

    it.each([
      ['an empty archive', () => Buffer.alloc(0)],
      ['noise', () => randomBytes(100_000)],
      ['an archive cut in its layer', (archive: TestArchive) => archive.bytes.subarray(0, 150_000)],
      ['an archive cut before its manifest', (archive: TestArchive) => beforeManifest(archive.bytes)],
    ])('never takes %s for a success', async (_, bytesOf) => {
      const archive = freshArchive();
      const refusal = await runtime.load(inPieces(bytesOf(archive), 65_536), never).then(
        () => undefined,
        (error: unknown) => error,
      );
      expect(refusal).toBeInstanceOf(UnlockError);
      expect(Object.keys(UNLOCK_ERRORS)).toContain((refusal as UnlockError).code);
      expect(await idsIn(archive)).toEqual([]);
    });
  });
}

function beforeManifest(archive: Buffer): Buffer {
  return archive.subarray(0, archive.indexOf('manifest.json'));
}
