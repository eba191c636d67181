/** Random 128-bit name of a pack, 32 lower-case hexadecimal digits. */
export type PackId = string;
/** Form of a {@link PackId}. */
export const PACK_ID_PATTERN = /^[0-9a-f]{32}$/;
/** Size at which a publisher closes a pack: the next chunk opens a new one. */
export const PACK_TARGET_BYTES = 32 * 1024 * 1024;
/** Largest pack anyone accepts: target plus one sealed chunk, rounded up. */
export const MAX_PACK_BYTES = 33 * 1024 * 1024;
/** Most chunks of one pack: so many records a chunk table holds. */
export const MAX_CHUNKS_PER_PACK = 65_536;

/** What a recipe says about a pack. Source: docs/formats/sealed-resource.md, "Recipe". */
export interface PackRef {
  readonly packId: PackId;
  readonly sizeBytes: number;
  /** SHA-256 of the whole pack, for checks of a pre-deployed disk. Not computed on the way of an open. */
  readonly sha256: Uint8Array;
}

/** Name of a pack in an object store. */
export function packObjectKey(folderId: string, packId: PackId): string {
  return `packs/${folderId}/${packId}`;
}
