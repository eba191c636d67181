import { createHash, randomBytes } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';

import { type ByteRange } from '@azaion/kernel';
import { imageArchive, pseudoRandomBytes, tempDirectory } from '@azaion/testing';
import { type RangedArchive, UnlockError } from '@azaion/unlock';
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
