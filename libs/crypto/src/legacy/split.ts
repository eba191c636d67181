import { Readable } from 'node:stream';

import { CryptoError } from '../errors.js';

const MAX_SMALL_BYTES = 3072;
const SMALL_SHARE_PERCENT = 30;

/** The two parts of an encrypted legacy resource. A reader concatenates them, so parts that were cut elsewhere are readable too. */
export interface LegacyParts {
  /** What goes to the API as `X.small`, at most 3072 bytes. */
  readonly small: Buffer;
  /** What goes to the CDN as `X.big`. Consume or destroy it. */
  readonly big: Readable;
}

/** Length of the small part: `min(3072, floor(0.3 · length))`. It may end inside the IV (docs/formats/legacy.md). */
export function legacySmallBytes(encryptedBytes: number): number {
  return Math.min(MAX_SMALL_BYTES, Math.floor((encryptedBytes * SMALL_SHARE_PERCENT) / 100));
}

/**
 * Cuts an encrypted resource into its parts, holding only the small one in memory.
 *
 * @param encrypted - A stream of bytes, taken over: destroying `big` destroys it.
 * @param smallBytes - {@link legacySmallBytes} of the whole length.
 * @throws CryptoError `legacy.invalid` when the stream ends within the small part; errors of the stream as they are.
 */
export async function splitLegacy(encrypted: Readable, smallBytes: number): Promise<LegacyParts> {
  const chunks = encrypted[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>;
  const head: Buffer[] = [];
  let headBytes = 0;
  while (headBytes < smallBytes) {
    const next = await chunks.next();
    if (next.done === true) throw new CryptoError('legacy.invalid', 'The encrypted content is shorter than stated.');
    head.push(next.value);
    headBytes += next.value.length;
  }
  const joined = Buffer.concat(head);
  const big = Readable.from(rest(joined.subarray(smallBytes), chunks));
  big.once('close', () => encrypted.destroy());
  return { small: joined.subarray(0, smallBytes), big };
}

async function* rest(first: Buffer, chunks: AsyncIterator<Buffer, undefined>): AsyncGenerator<Buffer> {
  if (first.length > 0) yield first;
  for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value;
}
