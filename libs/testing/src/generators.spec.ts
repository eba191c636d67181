import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { extract } from 'tar-stream';
import {
  type GeneratedImage,
  imageArchive,
  pseudoRandomBytes,
  pseudoRandomStream,
  safetensorsModel,
  safetensorsModelBytes,
} from './index.js';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('pseudoRandomStream', () => {
  it.each([0, 1, 262_143, 262_144, 262_145, 1_000_000])(
    'gives exactly %i bytes, the same each time',
    async (sizeBytes) => {
      const bytes = await buffer(pseudoRandomStream('a', sizeBytes));
      expect(bytes.length).toBe(sizeBytes);
      expect(bytes.equals(pseudoRandomBytes('a', sizeBytes))).toBe(true);
    },
  );

  it('gives the bytes that it has always given', () => {
    expect(sha256(pseudoRandomBytes('a', 1_000_000))).toBe(
      'ab5285fabeabee377656dee54094d48ab06c62cdde2489342bc0bba54f7789e2',
    );
  });

  it('gives other bytes for another seed', () => {
    expect(pseudoRandomBytes('a', 32).equals(pseudoRandomBytes('b', 32))).toBe(false);
  });
});

interface Tensor {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

describe('safetensorsModel', () => {
  const model = { seed: 'm', tensorCount: 8, tensorBytes: 64 * 1000 };

  it('has a header that describes aligned tensors up to the end of the file', async () => {
    const bytes = await buffer(safetensorsModel(model));
    expect(bytes.length).toBe(safetensorsModelBytes(model));
    const headerBytes = Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.subarray(8, 8 + headerBytes).toString()) as Record<string, Tensor>;
    const tensors = Object.entries(header).flatMap(([name, tensor]) => (name === '__metadata__' ? [] : [tensor]));
    expect((8 + headerBytes) % 64).toBe(0);
    expect(tensors).toHaveLength(8);
    expect(new Set(tensors.map(({ dtype }) => dtype))).toEqual(new Set(['F32', 'F16', 'BF16', 'I8']));
    const widths: Record<string, number> = { F32: 4, F16: 2, BF16: 2, I8: 1 };
    for (const {
      dtype,
      shape,
      data_offsets: [start, end],
    } of tensors) {
      expect(shape.reduce((a, b) => a * b, widths[dtype]!)).toBe(end - start);
    }
    expect(Math.max(...tensors.map(({ data_offsets }) => data_offsets[1]))).toBe(bytes.length - 8 - headerBytes);
  });

  it('changes exactly the retrained tensors', async () => {
    const before = await buffer(safetensorsModel(model));
    const after = await buffer(safetensorsModel({ ...model, retrained: { seed: 'v2', tensors: [3] } }));
    const start = before.length - 5 * model.tensorBytes;
    const end = start + model.tensorBytes;
    expect(after.subarray(0, start).equals(before.subarray(0, start))).toBe(true);
    expect(after.subarray(start, end).equals(before.subarray(start, end))).toBe(false);
    expect(after.subarray(end).equals(before.subarray(end))).toBe(true);
  });
});

describe('imageArchive', () => {
  const marker = Buffer.from('a marker to search for');
  const images: GeneratedImage[] = [
    {
      name: 'azaion/api:1',
      layers: [
        { seed: 'base', sizeBytes: 700_000 },
        { seed: 'app', sizeBytes: 10_000, files: { 'etc/marker': marker } },
      ],
    },
    { name: 'azaion/view:1', layers: [{ seed: 'base', sizeBytes: 700_000 }] },
  ];

  const entries = async (archive: Readable): Promise<Map<string, Buffer>> => {
    const found = new Map<string, Buffer>();
    for await (const entry of archive.pipe(extract())) found.set(entry.header.name, await buffer(entry));
    return found;
  };

  it('is the same each time it is opened and each time it is made', async () => {
    const archive = await imageArchive(images);
    const hash = sha256(await buffer(archive.open()));
    expect(sha256(await buffer(archive.open()))).toBe(hash);
    expect(sha256(await buffer((await imageArchive(images)).open()))).toBe(hash);
  });

  it('names its images by the hash of their configuration and its layers by the hash of their contents', async () => {
    const archive = await imageArchive(images);
    const files = await entries(archive.open());
    const manifest = JSON.parse(files.get('manifest.json')!.toString()) as { Config: string; Layers: string[] }[];
    expect(manifest.map(({ Config }) => `sha256:${sha256(files.get(Config)!)}`)).toEqual(archive.imageIds);
    for (const { Config, Layers } of manifest) {
      const configuration = JSON.parse(files.get(Config)!.toString()) as { rootfs: { diff_ids: string[] } };
      expect(Layers.map((layer) => `sha256:${sha256(files.get(layer)!)}`)).toEqual(configuration.rootfs.diff_ids);
    }
    expect([...files.keys()].filter((path) => path.endsWith('layer.tar'))).toHaveLength(2);
    expect(Buffer.concat([...files.values()]).includes(marker)).toBe(true);
  });
});
