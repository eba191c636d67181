/** The sealed parts of one version's recipe, as far as they are kept. */
export interface KeptRecipe {
  /** Hexadecimal. */
  readonly rootHash: string;
  readonly sizeBytes: number;
  /** When one of its parts was written, or its root read, last, give or take an hour; milliseconds since 1970 by the machine's clock. */
  readonly usedAtMs: number;
}

/** Sealed recipe parts kept on the device, as received. It holds nothing that opens without the device's key. */
export abstract class SegmentStore {
  /** @returns The bytes kept under this key, unverified, or `undefined`. @param key - `rootHash/kind/index`, made by this lib from checked parts. */
  abstract read(key: string): Promise<Uint8Array | undefined>;
  /** Keeps bytes; an existing entry is replaced as a whole. @throws ResourceError `resource.no-space`. */
  abstract write(key: string, bytes: Uint8Array): Promise<void>;
  /** What is kept, by version, in no order. */
  abstract recipes(): Promise<readonly KeptRecipe[]>;
  /** Forgets every part of one version's recipe; what is not there is forgotten already. @param rootHash - 64 hexadecimal digits. */
  abstract drop(rootHash: string): Promise<void>;
}
