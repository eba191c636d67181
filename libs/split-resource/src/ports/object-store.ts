import type { Readable } from 'node:stream';

import type { ByteRange } from '@azaion/kernel';

import type { PackTarget } from './pack-sink.js';

/** What must be true of an object for its signed PUT to be accepted. */
export interface SignedPut {
  readonly sizeBytes: number;
  /** SHA-256 of the bytes, hexadecimal. Checked by stores that can. */
  readonly sha256: string;
  /** MD5 of the bytes, standard Base64 (RFC 1864), for a store that {@link ObjectStore.needsMd5}. */
  readonly md5?: string | undefined;
}

/** The Admin API's side of the big parts: it signs, looks, compacts and deletes; publishers and devices carry the bytes. */
export abstract class ObjectStore {
  /** Whether it checks what is written by its MD5, as S3 does: publishers then take one more hash of every pack. */
  abstract readonly needsMd5: boolean;

  /** A URL that reads one object with any `Range` until it expires. The object need not exist. */
  abstract signGet(key: string, expiresInSeconds: number): Promise<string>;

  /** Permission to create one object of exactly this size and content; an existing one is never overwritten (412). */
  abstract signPut(key: string, content: SignedPut, expiresInSeconds: number): Promise<PackTarget>;

  /** @returns The object's size, or `undefined` when there is none. @throws ResourceError `cdn.unavailable`. */
  abstract head(key: string): Promise<{ readonly sizeBytes: number } | undefined>;

  /** Reads a range for the verifier. Unverified bytes. @throws ResourceError `pack.not-found`, also where the object ends before the range does; `cdn.unavailable`. */
  abstract read(key: string, range: ByteRange): Promise<Readable>;

  /** Creates an object that the service itself has made. An existing one is never overwritten. @throws ResourceError `pack.exists` | `cdn.unavailable`. */
  abstract write(key: string, bytes: Uint8Array): Promise<void>;

  /** Deletes an object; deleting what is not there succeeds. @throws ResourceError `cdn.unavailable`. */
  abstract delete(key: string): Promise<void>;

  /** Whether the store answers, for readiness. @throws ResourceError `cdn.unavailable`. */
  abstract check(): Promise<void>;
}
