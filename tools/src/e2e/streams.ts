import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';

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
  return response.body ?? Readable.from([]);
}
