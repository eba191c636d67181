/** Sealed recipe parts and leases kept on the device, as received. It holds nothing that opens without the device's key. */
export abstract class SegmentStore {
  /** @returns The bytes kept under this key, unverified, or `undefined`. @param key - `rootHash/kind/index`, made by this lib from checked parts. */
  abstract read(key: string): Promise<Uint8Array | undefined>;
  /** Keeps bytes; an existing entry is replaced as a whole. @throws ResourceError `resource.no-space`. */
  abstract write(key: string, bytes: Uint8Array): Promise<void>;
}
