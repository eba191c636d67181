import { timingSafeEqual } from 'node:crypto';

/** Base64url without padding (RFC 4648 §5). */
export function toBase64Url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url');
}

const BASE64URL = /^[A-Za-z0-9_-]*$/;

/**
 * Decodes base64url strictly: no padding, no other alphabet, no loose trailing bits.
 *
 * @returns The bytes, or `undefined` when the text is not canonical base64url of a value of at most `maxBytes` bytes.
 */
export function fromBase64Url(text: string, maxBytes: number): Uint8Array | undefined {
  if (text.length > Math.ceil((maxBytes * 4) / 3) || !BASE64URL.test(text)) return undefined;
  const bytes = new Uint8Array(Buffer.from(text, 'base64url'));
  return bytes.length <= maxBytes && toBase64Url(bytes) === text ? bytes : undefined;
}

/** Lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

/** UTF-8 bytes of a text. */
export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** One array holding all parts in order. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sizeBytes, part) => sizeBytes + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** An unsigned 32-bit integer in big-endian order. @throws RangeError when it does not fit. */
export function u32be(value: number): Uint8Array {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff)
    throw new RangeError('not an unsigned 32-bit integer');
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

/** Compares in constant time for equal lengths; different lengths are simply different. */
export function equalBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && timingSafeEqual(left, right);
}

/**
 * Copies bytes to another place. Into memory that threads share this is many times as fast as `target.set`, which the engine then does word by word.
 *
 * @param target - Has room for the source behind `at`, and is no part of it.
 * @throws RangeError when it has not.
 */
export function copyBytes(source: Uint8Array, target: Uint8Array, at = 0): void {
  if (!Number.isInteger(at) || at < 0 || at + source.length > target.length)
    throw new RangeError('there is no room for the bytes');
  const last = source.length - 1;
  if (last < 0) return;
  // Node hands a view as a whole on to `set`, and copies only parts of one by itself (nodejs/node#62032).
  Buffer.from(source.buffer, source.byteOffset, source.length).copy(target, at, 0, last);
  target[at + last] = source[last] as number;
}

/**
 * Gives the memory of a buffer back at once instead of at some later collection; whoever still looks at it finds it empty. Large streams
 * would otherwise hold several times what they work on. Views of a larger buffer are left alone.
 *
 * @param bytes - Nobody else's.
 */
export function releaseBytes(bytes: Uint8Array): void {
  // ECMAScript 2024, not yet in the type library this project compiles against.
  const buffer = bytes.buffer as ArrayBuffer & { transfer(newLength: number): ArrayBuffer };
  if (bytes.byteLength === buffer.byteLength) buffer.transfer(0);
}
