import { createHash } from 'node:crypto';

import type { StatementImage } from '@azaion/crypto';
import type { ByteRange } from '@azaion/kernel';

const BLOCK_BYTES = 512;
const PLAIN_FILE = '0';

/** An image for tests: its one layer holds one file with this content. */
export interface TestImage {
  readonly reference: string;
  readonly content: Uint8Array;
}

/** A `docker save` archive that real engines load. */
export interface TestArchive {
  readonly bytes: Buffer;
  readonly images: readonly StatementImage[];
}

/** An image as it was read from an archive. */
export interface ReadImage extends StatementImage {
  /** Of its only layer. */
  readonly chainId: string;
  /** Name of that layer's file. */
  readonly layerName: string;
  /** Where that layer's file lies, header and padding included; `undefined` when it was left out. */
  readonly layer: ByteRange | undefined;
}

/** One file of a tar. */
export interface TarFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Makes a `docker save` archive. The same images give the same bytes. */
export function dockerArchive(images: readonly TestImage[]): TestArchive {
  const files: TarFile[] = [];
  const signed: StatementImage[] = [];
  const manifest = images.map(({ reference, content }) => {
    const layer = tar([{ name: 'content', bytes: content }]);
    const layerDigest = sha256(layer);
    const config = Buffer.from(
      JSON.stringify({
        architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
        os: 'linux',
        config: { Cmd: ['/content'] },
        rootfs: { type: 'layers', diff_ids: [`sha256:${layerDigest}`] },
        history: [{ created: '1970-01-01T00:00:00Z', created_by: 'test' }],
      }),
    );
    const configDigest = sha256(config);
    signed.push({ reference, configDigest: `sha256:${configDigest}`, manifestDigest: null });
    const layerName = `${layerDigest}/layer.tar`;
    for (const file of [
      { name: layerName, bytes: layer },
      { name: `${configDigest}.json`, bytes: config },
    ]) {
      if (!files.some(({ name }) => name === file.name)) files.push(file);
    }
    return { Config: `${configDigest}.json`, RepoTags: [reference], Layers: [layerName] };
  });
  files.push({ name: 'manifest.json', bytes: Buffer.from(JSON.stringify(manifest)) });
  return { bytes: tar(files), images: signed };
}

/** What follows the file of a layer to make it an archive of an image of that layer alone. */
export function archiveEnd({
  reference,
  chainId,
  layerName,
}: Pick<ReadImage, 'reference' | 'chainId' | 'layerName'>): Buffer {
  const config = Buffer.from(JSON.stringify({ os: 'linux', rootfs: { type: 'layers', diff_ids: [chainId] } }));
  const name = `${sha256(config)}.json`;
  const manifest = [{ Config: name, RepoTags: [reference], Layers: [layerName] }];
  return tar([
    { name, bytes: config },
    { name: 'manifest.json', bytes: Buffer.from(JSON.stringify(manifest)) },
  ]);
}

/** Makes a tar (POSIX.1-1988 ustar) of small files. */
export function tar(files: readonly TarFile[]): Buffer {
  const parts = files.flatMap(({ name, bytes }) => [
    header(name, bytes.length),
    bytes,
    Buffer.alloc((BLOCK_BYTES - (bytes.length % BLOCK_BYTES)) % BLOCK_BYTES),
  ]);
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK_BYTES)]);
}

/** Reads a tar made by {@link tar}. @returns `undefined` when it is damaged or incomplete. */
export function readTar(archive: Buffer): readonly TarFile[] | undefined {
  const files: TarFile[] = [];
  for (let at = 0; at + BLOCK_BYTES <= archive.length;) {
    const block = archive.subarray(at, at + BLOCK_BYTES);
    if (block.every((byte) => byte === 0)) return files;
    const name = text(block.subarray(0, 100));
    const sizeBytes = parseInt(text(block.subarray(124, 136)), 8);
    const start = at + BLOCK_BYTES;
    if (text(block.subarray(257, 262)) !== 'ustar' || !(start + sizeBytes <= archive.length)) return undefined;
    files.push({ name, bytes: archive.subarray(start, start + sizeBytes) });
    at = start + Math.ceil(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES;
  }
  return undefined;
}

/** Reads which images a `docker save` archive holds, as an engine would. @returns `undefined` when it is none. */
export function readDockerArchive(archive: Buffer): readonly ReadImage[] | undefined {
  const files = readTar(archive);
  const manifest = files?.find(({ name }) => name === 'manifest.json');
  if (files === undefined || manifest === undefined) return undefined;
  const entries = JSON.parse(Buffer.from(manifest.bytes).toString()) as {
    Config: string;
    RepoTags: string[];
    Layers: [string];
  }[];
  return entries.flatMap(({ Config, RepoTags, Layers: [layerName] }) => {
    const config = files.find(({ name }) => name === Config)?.bytes ?? new Uint8Array();
    const configDigest = `sha256:${sha256(config)}`;
    const { rootfs } = JSON.parse(Buffer.from(config).toString()) as { rootfs: { diff_ids: [string] } };
    const layer = files.find(({ name }) => name === layerName)?.bytes;
    const range =
      layer === undefined
        ? undefined
        : {
            start: layer.byteOffset - archive.byteOffset - BLOCK_BYTES,
            end: layer.byteOffset - archive.byteOffset + Math.ceil(layer.length / BLOCK_BYTES) * BLOCK_BYTES,
          };
    const image = { configDigest, manifestDigest: null, chainId: rootfs.diff_ids[0], layerName, layer: range };
    return RepoTags.map((reference) => ({ reference, ...image }));
  });
}

function header(name: string, sizeBytes: number): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  block.write(name, 0, 100);
  block.write('0000644\0', 100);
  block.write('0000000\0', 108);
  block.write('0000000\0', 116);
  block.write(`${sizeBytes.toString(8).padStart(11, '0')}\0`, 124);
  block.write('00000000000\0', 136);
  block.write('        ', 148);
  block.write(PLAIN_FILE, 156);
  block.write('ustar\x0000', 257, 'latin1');
  const checksum = block.reduce((sum, byte) => sum + byte, 0);
  block.write(`${checksum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

function text(field: Buffer): string {
  const end = field.indexOf(0);
  return field.toString('latin1', 0, end === -1 ? field.length : end);
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
