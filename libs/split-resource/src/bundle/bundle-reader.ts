/** A bundle as it lies on a disk. Nothing it returns has been verified. */
export abstract class BundleReader {
  /**
   * Reads a small file whole.
   *
   * @param path - One that `isBundlePath` accepts, or the manifest's.
   * @throws ResourceError `bundle.invalid` when it is missing or longer than `maxBytes`.
   */
  abstract read(path: string, maxBytes: number): Promise<Buffer>;

  /** Length and SHA-256 (hexadecimal) of a file of any size; `undefined` when it is missing. */
  abstract digest(path: string): Promise<{ readonly sizeBytes: number; readonly sha256: string } | undefined>;
}
