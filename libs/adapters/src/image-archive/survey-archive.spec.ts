import { createHash, randomBytes } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';

import type { ByteRange } from '@azaion/kernel';
import { type GeneratedLayer, imageArchive, pseudoRandomBytes, tempDirectory } from '@azaion/testing';
import { type ArchivePart, type ArchiveSurvey, type RangedArchive, UnlockError } from '@azaion/unlock';
import { dockerArchive, inPieces, readTar, tar } from '@azaion/unlock/testing';
import fc from 'fast-check';

import { chainIdsOf } from './chain-ids.js';
import { inspectImageArchive } from './inspect-image-archive.js';
import { surveyArchive } from './survey-archive.js';

const MIB = 1024 * 1024;
const archive = dockerArchive([
  { reference: 'azaion/detections:1.4.0', content: randomBytes(3 * MIB) },
  { reference: 'azaion/flights:1.4.0', content: randomBytes(1000) },
]);
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

interface DockerEntry {
  readonly Config: string;
  readonly Layers: readonly string[];
}

/** An archive that counts what is read of it. */
function ranged(bytes: Buffer, onRead: (range: ByteRange) => void = () => undefined): RangedArchive {
  return {
    totalBytes: bytes.length,
    read: (range) => {
      expect(range.end - range.start).toBeLessThanOrEqual(MIB);
      expect(range.end).toBeLessThanOrEqual(bytes.length);
      onRead(range);
      return Promise.resolve(bytes.subarray(range.start, range.end));
    },
  };
}

function without(bytes: Buffer, ranges: readonly ByteRange[]): Buffer {
  const kept = ranges.map(({ start }, index) => bytes.subarray(ranges[index - 1]?.end ?? 0, start));
  return Buffer.concat([...kept, bytes.subarray(ranges.at(-1)?.end ?? 0)]);
}

async function outcome<T>(work: Promise<T>): Promise<T | UnlockError> {
  return work.catch((error: unknown) => {
    if (error instanceof UnlockError) return error;
    throw error;
  });
}

describe('surveyArchive', () => {
  it('finds the same images as a reading of the whole, and reads little of it', async () => {
    let readBytes = 0;
    const survey = await surveyArchive(ranged(archive.bytes, ({ start, end }) => (readBytes += end - start)));
    expect(survey?.images).toEqual(archive.images);
    expect(survey?.images).toEqual(await inspectImageArchive(inPieces(archive.bytes, 65_536)));
    expect(readBytes).toBeLessThan(256 * 1024);
  });

  // Over a CDN each read is a round trip: 600 ms by satellite.
  it.each([
    { layers: 200, sizeBytes: 3000, reads: 5, readBytes: 1.1 * MIB },
    { layers: 60, sizeBytes: 40_000, reads: 8, readBytes: 3.5 * MIB },
    { layers: 12, sizeBytes: MIB, reads: 14, readBytes: 0.9 * MIB },
  ])(
    'reads an archive of $layers layers of $sizeBytes bytes in at most $reads reads',
    async ({ layers, sizeBytes, reads, readBytes }) => {
      const made = await imageArchive([
        { name: 'a:1', layers: Array.from({ length: layers }, (_, at) => ({ seed: `layer ${at}`, sizeBytes })) },
      ]);
      const ranges: ByteRange[] = [];
      await surveyArchive(ranged(await buffer(made.open()), (range) => ranges.push(range)));
      expect(ranges.length).toBeLessThanOrEqual(reads);
      expect(ranges.reduce((sum, { start, end }) => sum + end - start, 0)).toBeLessThan(readBytes);
    },
  );

  it('tells where each layer lies and under which chain ids it is used', async () => {
    const shared = { seed: 'base', sizeBytes: 100_000 };
    const own = { seed: 'own', sizeBytes: 50_000 };
    const generated = await imageArchive([
      { name: 'azaion/a:1', layers: [shared, own] },
      { name: 'azaion/b:1', layers: [own, shared] },
    ]);
    const bytes = await buffer(generated.open());
    const survey = await surveyArchive(ranged(bytes));
    const diffIds = survey!.layers.map(({ range }) => `sha256:${sha256(contentOf(bytes, range))}`);
    expect(diffIds).toHaveLength(2);
    const [first = '', second = ''] = diffIds;
    const [, secondAboveFirst = ''] = chainIdsOf([first, second]);
    const [, firstAboveSecond = ''] = chainIdsOf([second, first]);
    expect(survey!.layers.map(({ chainIds }) => chainIds)).toEqual([
      [first, firstAboveSecond],
      [secondAboveFirst, second],
    ]);
  });

  it('names layers without which the archive is well-formed still', async () => {
    const { layers } = (await surveyArchive(ranged(archive.bytes)))!;
    for (const left of [layers, layers.slice(0, 1), layers.slice(1)]) {
      const less = without(
        archive.bytes,
        left.map(({ range }) => range),
      );
      expect(await inspectImageArchive(inPieces(less, 65_536))).toEqual(archive.images);
      expect((await surveyArchive(ranged(less)))?.images).toEqual(archive.images);
    }
  });

  describe('parts', () => {
    const NOTHING: ReadonlySet<string> = new Set();
    const NAMES = ['part:1', 'part:2', 'part:3', 'part:4', 'part:5', 'part:6'];
    const [one, two, three, four] = ['one', 'two', 'three', 'four'].map((seed) => ({ seed, sizeBytes: 100_000 })) as [
      GeneratedLayer,
      GeneratedLayer,
      GeneratedLayer,
      GeneratedLayer,
    ];
    const small = { seed: 'small', sizeBytes: 1000 };

    const surveyOf = async (
      ...stacks: readonly (readonly GeneratedLayer[])[]
    ): Promise<{ bytes: Buffer; survey: ArchiveSurvey }> => {
      const made = await imageArchive(stacks.map((layers, index) => ({ name: `azaion/image:${index}`, layers })));
      const bytes = await buffer(made.open());
      return { bytes, survey: (await surveyArchive(ranged(bytes)))! };
    };
    const bytesOf = (bytes: Buffer, { pieces }: ArchivePart): Buffer =>
      Buffer.concat(
        pieces.map((piece) => (piece instanceof Uint8Array ? piece : bytes.subarray(piece.start, piece.end))),
      );
    /** What an engine that gets the parts one after another can make of each. @returns The diff ids of its images. */
    const loaded = async (bytes: Buffer, parts: readonly ArchivePart[]): Promise<string[][]> => {
      const there = new Set<string>();
      const stacks: string[][] = [];
      for (const part of parts) {
        const own = bytesOf(bytes, part);
        const files = new Map(readTar(own)!.map((file) => [file.name, Buffer.from(file.bytes)]));
        const images = await inspectImageArchive(inPieces(own, 65_536));
        expect(images.map(({ reference }) => reference)).toEqual(part.references);
        for (const { Config, Layers } of JSON.parse(files.get('manifest.json')!.toString()) as DockerEntry[]) {
          const { rootfs } = JSON.parse(files.get(Config)!.toString()) as { rootfs: { diff_ids: string[] } };
          expect(Layers).toHaveLength(rootfs.diff_ids.length);
          for (const [index, chainId] of chainIdsOf(rootfs.diff_ids).entries()) {
            if (there.has(chainId)) continue;
            expect(`sha256:${sha256(files.get(Layers[index]!)!)}`).toBe(rootfs.diff_ids[index]);
            there.add(chainId);
          }
          stacks.push(rootfs.diff_ids);
        }
      }
      return stacks;
    };
    const diffIdsOf = ({ survey }: { survey: ArchiveSurvey }, bytes: Buffer): string[] =>
      survey.layers.map(({ range }) => `sha256:${sha256(contentOf(bytes, range))}`);

    it('are archives of their own, each above those before, all but the last layers', async () => {
      const { bytes, survey } = await surveyOf([one, two, three]);
      const parts = await survey.parts(NOTHING, 100_000, NAMES);
      const [first, second] = diffIdsOf({ survey }, bytes);
      expect(await loaded(bytes, parts)).toEqual([[first], [first, second]]);
      expect(parts.flatMap(({ layers }) => layers)).toEqual(survey.layers.slice(0, 2));
    });

    it('hold as many layers as make them large enough', async () => {
      const { bytes, survey } = await surveyOf([small, one, small, two, three, four]);
      const parts = await survey.parts(NOTHING, 200_000, NAMES);
      expect(parts.map(({ layers }) => layers.length)).toEqual([3]);
      expect(await loaded(bytes, parts)).toHaveLength(1);
    });

    it('leave as much to the last load', async () => {
      const { survey } = await surveyOf([one, two, small]);
      expect((await survey.parts(NOTHING, 100_000, NAMES)).map(({ layers }) => layers.length)).toEqual([1]);
      expect(await (await surveyOf([one, small])).survey.parts(NOTHING, 100_000, NAMES)).toEqual([]);
    });

    it('of several images have an image for each stack, and layers that they share once', async () => {
      const { bytes, survey } = await surveyOf([one, two], [one, three], [three, one, four]);
      const parts = await survey.parts(NOTHING, 100_000, NAMES);
      const diffIds = diffIdsOf({ survey }, bytes);
      const [first, second, third] = diffIds;
      expect(await loaded(bytes, parts)).toEqual([
        [first, second],
        [first, third],
        [third, first],
      ]);
      expect(parts.map(({ references }) => references)).toEqual([['part:1', 'part:2', 'part:3']]);
    });

    it('hold nothing that the engine has', async () => {
      const { survey } = await surveyOf([one, two, three, four]);
      const known = new Set(survey.layers.slice(0, 2).flatMap(({ chainIds }) => chainIds));
      const parts = await survey.parts(known, 100_000, NAMES);
      expect(parts.flatMap(({ layers }) => layers)).toEqual(survey.layers.slice(2, 3));
    });

    it('are as many as there are names for', async () => {
      const { survey } = await surveyOf([one, two, three, four]);
      expect(await survey.parts(NOTHING, 100_000, NAMES.slice(0, 2))).toHaveLength(2);
      expect(await survey.parts(NOTHING, 100_000, [])).toEqual([]);
    });

    it('end where the layers do on which theirs stand', async () => {
      // Somebody wrote the files from the top.
      const { bytes } = await surveyOf([one, two, three, four]);
      const files = readTar(bytes)!;
      const turned = tar([...files.slice(0, 4).reverse(), ...files.slice(4)]);
      const survey = (await surveyArchive(ranged(turned)))!;
      expect(await survey.parts(NOTHING, 100_000, NAMES)).toEqual([]);
      const half = tar([files[1]!, files[0]!, ...files.slice(2)]);
      const parts = await (await surveyArchive(ranged(half)))!.parts(NOTHING, 100_000, NAMES);
      expect(parts.map(({ layers }) => layers.length)).toEqual([2, 1]);
      expect(await loaded(half, parts)).toHaveLength(2);
    });
  });

  it('follows the link that docker writes for a layer under a second name', async () => {
    const directory = await tempDirectory('azaion-links');
    try {
      const layer = tar([{ name: 'x', bytes: randomBytes(2 * MIB) }]);
      const diffId = `sha256:${sha256(layer)}`;
      const configs = ['a', 'b'].map((cmd) =>
        Buffer.from(JSON.stringify({ config: { Cmd: [cmd] }, rootfs: { type: 'layers', diff_ids: [diffId] } })),
      );
      for (const [index, config] of configs.entries()) {
        await mkdir(join(directory.path, `l${index}`));
        await writeFile(join(directory.path, `${sha256(config)}.json`), config);
      }
      await writeFile(join(directory.path, 'l0', 'layer.tar'), layer);
      await symlink('../l0/layer.tar', join(directory.path, 'l1', 'layer.tar'));
      const manifest = configs.map((config, index) => ({
        Config: `${sha256(config)}.json`,
        RepoTags: [`azaion/x:${index}`],
        Layers: [`l${index}/layer.tar`],
      }));
      await writeFile(join(directory.path, 'manifest.json'), JSON.stringify(manifest));
      const bytes = tarOf(directory.path, '--format=ustar');
      const survey = await surveyArchive(ranged(bytes));
      expect(survey?.layers.map(({ chainIds }) => chainIds)).toEqual([[diffId]]);
      expect(survey?.images.map(({ reference }) => reference)).toEqual(['azaion/x:0', 'azaion/x:1']);
    } finally {
      await directory.remove();
    }
  });

  it.each(['ustar', 'pax', 'gnu'])('reads the headers of %s, long names among them', async (format) => {
    const directory = await tempDirectory('azaion-tar');
    try {
      for (const { name, bytes } of readTar(archive.bytes)!) {
        const path = join(directory.path, name);
        await mkdir(join(path, '..'), { recursive: true });
        await writeFile(path, bytes);
      }
      const deep = join(directory.path, 'd'.repeat(90), 'e'.repeat(60));
      await mkdir(deep, { recursive: true });
      await writeFile(join(deep, 'f'.repeat(50)), 'deep');
      const bytes = tarOf(directory.path, `--format=${format}`);
      const survey = await surveyArchive(ranged(bytes));
      const whole = await inspectImageArchive(inPieces(bytes, 65_536));
      expect(survey?.images).toEqual(whole);
      expect(survey?.layers).toHaveLength(2);
      expect(
        await inspectImageArchive(
          inPieces(
            without(
              bytes,
              survey!.layers.map(({ range }) => range),
            ),
            65_536,
          ),
        ),
      ).toEqual(whole);
    } finally {
      await directory.remove();
    }
  });

  it('leaves hard links and sparse files to a reading of the whole', async () => {
    const directory = await tempDirectory('azaion-tar');
    try {
      await writeFile(join(directory.path, 'a'), randomBytes(1000));
      execFileSync('ln', ['a', 'b'], { cwd: directory.path });
      expect(await surveyArchive(ranged(tarOf(directory.path, '--format=ustar')))).toBeUndefined();
      execFileSync('truncate', ['--size=4M', 'c'], { cwd: directory.path });
      execFileSync('rm', ['b'], { cwd: directory.path });
      expect(await surveyArchive(ranged(tarOf(directory.path, '--format=pax', '--sparse')))).toBeUndefined();
    } finally {
      await directory.remove();
    }
  });

  it.each([
    ['a file twice', [file('manifest.json', '[]'), file('manifest.json', '[]')]],
    ['a name that leads upwards', [file('../manifest.json', '[]')]],
    ['an absolute name', [file('/manifest.json', '[]')]],
    ['no manifest', [file('a.json', '{}')]],
    ['a manifest that is no list', [file('manifest.json', '{}')]],
    ['a manifest that is not JSON', [file('manifest.json', '[')]],
    ['no image', [file('manifest.json', '[]')]],
  ])('refuses an archive with %s', async (_, files) => {
    expect(await outcome(surveyArchive(ranged(tar(files))))).toMatchObject({ code: 'unlock.archive-invalid' });
  });

  it('names no layers when manifest and configuration do not fit together', async () => {
    const config = JSON.stringify({ rootfs: { type: 'layers', diff_ids: ['sha256:1', 'sha256:2'] } });
    const manifest = JSON.stringify([{ Config: 'c.json', RepoTags: ['a:1'], Layers: ['l'] }]);
    const files = [file('l', 'layer'), file('c.json', config), file('manifest.json', manifest)];
    expect((await surveyArchive(ranged(tar(files))))?.layers).toEqual([]);
  });

  // 64 KiB of an archive that is cut at every 512 bytes: the parser meets every kind of end.
  it('says of every beginning of an archive that it is too short, or no archive', async () => {
    const small = dockerArchive([{ reference: 'a/b:1', content: randomBytes(9000) }]).bytes;
    const end = small.length - 1024; // before the two empty blocks
    for (let sizeBytes = 0; sizeBytes < end; sizeBytes += 256) {
      const result = await outcome(surveyArchive(ranged(small.subarray(0, sizeBytes))));
      expect(result).toBeInstanceOf(UnlockError);
    }
  });

  it('never says anything else than a reading of the whole, whatever byte is changed', async () => {
    const small = dockerArchive([{ reference: 'a/b:1', content: pseudoRandomBytes('survey', 3000) }]).bytes;
    await fc.assert(
      fc.asyncProperty(fc.nat(small.length - 1), fc.integer({ min: 1, max: 255 }), async (at, mask) => {
        const changed = Buffer.from(small);
        changed[at] = changed[at]! ^ mask;
        const [survey, whole] = await Promise.all([
          outcome(surveyArchive(ranged(changed))),
          outcome(inspectImageArchive(inPieces(changed, 4096))),
        ]);
        // Either may be stricter; where both accept, they agree.
        if (survey === undefined || survey instanceof UnlockError || whole instanceof UnlockError) return;
        expect(survey.images).toEqual(whole);
      }),
      { numRuns: 500 },
    );
  });
});

describe('chainIdsOf', () => {
  it('is the layer itself at the bottom, and the hash of both above', () => {
    // Worked by hand: printf 'sha256:a sha256:b' | sha256sum.
    expect(chainIdsOf(['sha256:a', 'sha256:b'])).toEqual([
      'sha256:a',
      `sha256:${sha256(Buffer.from('sha256:a sha256:b'))}`,
    ]);
  });

  it.each([0, 513])('has none for %i layers', (count) => {
    expect(chainIdsOf(Array.from({ length: count }, () => 'sha256:a'))).toEqual([]);
  });
});

function file(name: string, text: string): { name: string; bytes: Buffer } {
  return { name, bytes: Buffer.from(text) };
}

function contentOf(bytes: Buffer, range: ByteRange): Buffer {
  const entry = bytes.subarray(range.start, range.end);
  const sizeBytes = parseInt(entry.toString('latin1', 124, 135), 8);
  return entry.subarray(512, 512 + sizeBytes);
}

function tarOf(directory: string, ...options: string[]): Buffer {
  return execFileSync('tar', ['-C', directory, ...options, '-cf', '-', '.'], { maxBuffer: 64 * MIB });
}
