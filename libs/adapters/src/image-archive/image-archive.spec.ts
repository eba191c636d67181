import { createHash, randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

import type { StatementImage } from '@azaion/crypto';
import { releaseBytes } from '@azaion/kernel';
import { describeWith, runCommand, startDockerd, tempDirectory } from '@azaion/testing';
import { UnlockError } from '@azaion/unlock';
import { dockerArchive, inPieces, tar } from '@azaion/unlock/testing';
import fc from 'fast-check';

import { inspectImageArchive, inspectWhilePassing } from './inspect-image-archive.js';
import { TarArchiveInspector } from './tar-archive-inspector.js';

const MIB = 1024 * 1024;
const archive = dockerArchive([
  { reference: 'azaion/detections:1.4.0', content: randomBytes(3 * MIB) },
  { reference: 'azaion/flights:1.4.0', content: randomBytes(1000) },
]);

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

/** An OCI image layout, as `podman save --format oci-archive` and newer `docker save` write it. */
function layout(names: readonly string[], docker = false): { bytes: Buffer; images: StatementImage[] } {
  const files = new Map<string, Buffer>();
  const images: StatementImage[] = [];
  const descriptors = names.map((name) => {
    const config = json({ architecture: 'arm64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] }, name });
    const manifest = json({ schemaVersion: 2, config: { digest: `sha256:${sha256(config)}` }, layers: [] });
    for (const blob of [config, manifest]) files.set(`blobs/sha256/${sha256(blob)}`, blob);
    images.push({
      reference: name,
      configDigest: `sha256:${sha256(config)}`,
      manifestDigest: `sha256:${sha256(manifest)}`,
    });
    return {
      digest: `sha256:${sha256(manifest)}`,
      annotations: { 'io.containerd.image.name': `docker.io/${name}`, 'org.opencontainers.image.ref.name': 'x' },
    };
  });
  files.set('index.json', json({ schemaVersion: 2, manifests: descriptors }));
  if (docker)
    files.set(
      'manifest.json',
      json(
        images.map(({ reference, configDigest }) => ({
          Config: `blobs/sha256/${configDigest.slice(7)}`,
          RepoTags: [reference],
          Layers: [],
        })),
      ),
    );
  files.set('oci-layout', json({ imageLayoutVersion: '1.0.0' }));
  return { bytes: tar([...files].map(([name, bytes]) => ({ name, bytes }))), images };
}

async function refusalOf(bytes: Buffer): Promise<unknown> {
  return inspectImageArchive(inPieces(bytes, 65_536)).then(
    () => undefined,
    (error: unknown) => error,
  );
}

describe('inspectImageArchive', () => {
  it.each([1, 511, 512, 513, 65_536, 8 * MIB])(
    'finds the images of a docker archive in pieces of %i bytes',
    async (piece) => {
      const small = piece === 1 ? dockerArchive([{ reference: 'a/b:1', content: Buffer.from('x') }]) : archive;
      expect(await inspectImageArchive(inPieces(small.bytes, piece))).toEqual(small.images);
    },
  );

  it('finds the images of an OCI layout', async () => {
    const { bytes, images } = layout(['azaion/detections:1', 'azaion/flights:1']);
    expect(await inspectImageArchive(inPieces(bytes, 1000))).toEqual(images);
  });

  it('finds the images of an archive that is both', async () => {
    const { bytes, images } = layout(['azaion/detections:1'], true);
    expect(await inspectImageArchive(inPieces(bytes, 1000))).toEqual(images);
  });

  // BuildKit lays a build record beside the manifest and an index around both; engines with the containerd store report its digest.
  it('takes the digest that index.json names for the image, also where an index of manifests stands between', async () => {
    const config = json({ architecture: 'arm64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } });
    const manifest = json({ schemaVersion: 2, config: { digest: `sha256:${sha256(config)}` }, layers: [] });
    const record = json({ schemaVersion: 2, config: { digest: `sha256:${'0'.repeat(64)}` }, layers: [] });
    const inner = json({
      schemaVersion: 2,
      manifests: [
        { digest: `sha256:${sha256(manifest)}` },
        { digest: `sha256:${sha256(record)}`, annotations: { 'vnd.docker.reference.type': 'attestation-manifest' } },
      ],
    });
    const annotations = { 'io.containerd.image.name': 'docker.io/azaion/detections:1' };
    const outer = json({ schemaVersion: 2, manifests: [{ digest: `sha256:${sha256(inner)}`, annotations }] });
    const blobs = [config, manifest, record, inner].map((bytes) => ({ name: `blobs/sha256/${sha256(bytes)}`, bytes }));
    const images = await inspectImageArchive(inPieces(tar([...blobs, { name: 'index.json', bytes: outer }]), 1000));
    expect(images).toEqual([
      {
        reference: 'azaion/detections:1',
        configDigest: `sha256:${sha256(config)}`,
        manifestDigest: `sha256:${sha256(inner)}`,
      },
    ]);
  });

  it('refuses an archive whose two indexes name different images', async () => {
    const oci = layout(['azaion/detections:1']);
    const index = oci.bytes;
    const config = json({ os: 'linux', other: true });
    const both = Buffer.concat([
      tar([
        { name: 'other.json', bytes: config },
        { name: 'manifest.json', bytes: json([{ Config: 'other.json', RepoTags: ['azaion/detections:1'] }]) },
      ]).subarray(0, -1024),
      index,
    ]);
    expect(await refusalOf(both)).toMatchObject({ code: 'unlock.archive-invalid' });
  });

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['only the end mark', Buffer.alloc(1024)],
    ['noise', randomBytes(10_000)],
    ['a compressed archive', gzipSync(archive.bytes)],
    ['no manifest', tar([{ name: 'x.json', bytes: json({}) }])],
    ['a manifest that is not JSON', tar([{ name: 'manifest.json', bytes: Buffer.from('[{') }])],
    ['a manifest that is no list', tar([{ name: 'manifest.json', bytes: json({ Config: 'x' }) }])],
    ['an empty manifest', tar([{ name: 'manifest.json', bytes: json([]) }])],
    ['a manifest of numbers', tar([{ name: 'manifest.json', bytes: json([1]) }])],
    [
      'a configuration that is missing',
      tar([{ name: 'manifest.json', bytes: json([{ Config: 'x', RepoTags: ['a:1'] }]) }]),
    ],
    ['an image without a name', named(null)],
    ['an image with an impossible name', named(['--help'])],
    ['an image with a very long name', named(['a'.repeat(600)])],
    ['one name twice', named(['a/b:1', 'a/b:1'])],
    [
      'one file twice',
      tar([
        { name: 'x', bytes: json({}) },
        { name: './x', bytes: json({}) },
      ]),
    ],
    ['a file outside', tar([{ name: '../manifest.json', bytes: json([]) }])],
    ['a file with an absolute name', tar([{ name: '/manifest.json', bytes: json([]) }])],
    ['a manifest that is too long', tar([{ name: 'manifest.json', bytes: Buffer.alloc(2 * MIB, '[') }])],
    ['an index that is nested for ever', nested()],
    [
      'an index that names a missing blob',
      tar([{ name: 'index.json', bytes: json({ manifests: [{ digest: `sha256:${'0'.repeat(64)}` }] }) }]),
    ],
  ])('refuses %s', async (_, bytes) => {
    const refusal = await refusalOf(bytes);
    expect(refusal).toBeInstanceOf(UnlockError);
    expect((refusal as UnlockError).code).toMatch(/^unlock\.archive-(invalid|truncated)$/);
  });

  it.each([513, 2 * MIB, archive.bytes.length - 3000])(
    'refuses the first %i bytes of an archive',
    async (sizeBytes) => {
      const refusal = await refusalOf(archive.bytes.subarray(0, sizeBytes));
      expect((refusal as UnlockError).code).toMatch(/^unlock\.archive-(invalid|truncated)$/);
    },
  );

  // Law: whatever the bytes, the outcome is a list of images or a coded error.
  it('answers damaged archives with a coded error or other images, never with anything else', async () => {
    const { bytes } = layout(['azaion/a:1', 'azaion/b:1'], true);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ at: fc.nat(bytes.length - 1), value: fc.nat(255) }), { minLength: 1, maxLength: 20 }),
        fc.option(fc.nat(bytes.length)),
        fc.integer({ min: 1, max: 5000 }),
        async (flips, end, piece) => {
          const damaged = Buffer.from(bytes.subarray(0, end ?? bytes.length));
          for (const { at, value } of flips) if (at < damaged.length) damaged[at] = value;
          const outcome = await inspectImageArchive(inPieces(damaged, piece)).catch((error: unknown) => error);
          if (!Array.isArray(outcome)) expect(outcome).toBeInstanceOf(UnlockError);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('answers any JSON in the place of the manifest with a coded error or images', async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), fc.constantFrom('manifest.json', 'index.json'), async (value, name) => {
        const outcome = await inspectImageArchive(inPieces(tar([{ name, bytes: json(value) }]), 512)).catch(
          (error: unknown) => error,
        );
        if (!Array.isArray(outcome)) expect(outcome).toBeInstanceOf(UnlockError);
      }),
      { numRuns: 200 },
    );
  });
});

describe('inspectWhilePassing', () => {
  it('passes the bytes on as they are and knows the images at the end', async () => {
    const { content, images } = inspectWhilePassing(inPieces(archive.bytes, 70_000));
    const passed: Buffer[] = [];
    for await (const piece of content) passed.push(piece as Buffer);
    expect(Buffer.concat(passed).equals(archive.bytes)).toBe(true);
    expect(await images()).toEqual(archive.images);
  });

  it('fails with the archive, in the content and in the images', async () => {
    const { content, images } = inspectWhilePassing(inPieces(Buffer.from('no tar'), 3));
    await expect(content.toArray()).rejects.toBeInstanceOf(UnlockError);
    await expect(images()).rejects.toBeInstanceOf(UnlockError);
  });
});

describe('TarArchiveInspector', () => {
  /** Gives back the memory of each piece, as an engine's pipe does. */
  const collect = async (bytes: AsyncIterable<Uint8Array>, into: Uint8Array[]): Promise<void> => {
    for await (const piece of bytes) {
      into.push(Buffer.from(piece));
      releaseBytes(piece);
    }
  };

  it('passes an accepted archive on as it is', async () => {
    const passed: Uint8Array[] = [];
    let seen: readonly StatementImage[] = [];
    await collect(
      new TarArchiveInspector().passThrough(inPieces(archive.bytes, 70_000), (images) => (seen = images)),
      passed,
    );
    expect(Buffer.concat(passed).equals(archive.bytes)).toBe(true);
    expect(seen).toEqual(archive.images);
  });

  it('keeps the end of a refused archive, its manifest among it, from the engine', async () => {
    const passed: Uint8Array[] = [];
    const refusal = new UnlockError('unlock.image-unsigned', 'no');
    const passing = new TarArchiveInspector().passThrough(inPieces(archive.bytes, 70_000), () => {
      throw refusal;
    });
    await expect(collect(passing, passed)).rejects.toBe(refusal);
    const passedBytes = Buffer.concat(passed).length;
    expect(passedBytes).toBeGreaterThan(MIB);
    expect(passedBytes).toBeLessThanOrEqual(archive.bytes.length - MIB);
  });
});

describeWith('docker', 'inspectImageArchive on what docker save writes', () => {
  it('finds the ids that docker gives the images', async () => {
    const daemon = await startDockerd();
    const directory = await tempDirectory();
    try {
      const docker = (...args: string[]): Promise<string> =>
        runCommand('docker', ['--host', daemon.dockerHost, ...args]);
      const root = join(directory.path, 'root.tar');
      const saved = join(directory.path, 'saved.tar');
      await writeFile(root, tar([{ name: 'content', bytes: randomBytes(200_000) }]));
      for (const name of ['azaion/a:1', 'azaion/b:2']) await docker('import', root, name);
      await docker('tag', 'azaion/a:1', 'azaion/c:3');
      const names = ['azaion/a:1', 'azaion/b:2', 'azaion/c:3'];
      await docker('save', '--output', saved, ...names);
      const ids = await Promise.all(
        names.map(async (name) => (await docker('image', 'inspect', '--format', '{{.Id}}', name)).trim()),
      );
      const images = await inspectImageArchive(inPieces(await readFile(saved), 65_536));
      expect(new Map(images.map(({ reference, configDigest }) => [reference, configDigest]))).toEqual(
        new Map(names.map((name, index) => [name, ids[index]])),
      );
    } finally {
      await daemon.stop();
      await directory.remove();
    }
  });
});

function named(tags: unknown): Buffer {
  return tar([
    { name: 'c.json', bytes: json({}) },
    { name: 'manifest.json', bytes: json([{ Config: 'c.json', RepoTags: tags }]) },
  ]);
}

/** An index in an index in an index. */
function nested(): Buffer {
  const files: { name: string; bytes: Buffer }[] = [];
  let inner = json({ manifests: [] });
  for (let depth = 0; depth < 4; depth++) {
    files.push({ name: `blobs/sha256/${sha256(inner)}`, bytes: inner });
    inner = json({ manifests: [{ digest: `sha256:${sha256(inner)}` }] });
  }
  return tar([...files, { name: 'index.json', bytes: inner }]);
}
