/** Permission to write one pack, once. */
export interface PackTarget {
  readonly url: string;
  /** To be sent verbatim: they are signed. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Where a publisher writes packs to. */
export abstract class PackSink {
  /**
   * Writes one pack (F3).
   *
   * @param parts - The pack's bytes in order; their lengths sum to the signed content length.
   * @param deadlineMs - For the whole write.
   * @param signal - Ends the write early; the pack is then not there, or was written after all.
   * @throws ResourceError `pack.exists` (written before: compare the size) | `pack.forbidden` (ask for a new target) | `pack.unavailable` (try again later).
   */
  abstract put(
    target: PackTarget,
    parts: readonly Uint8Array[],
    deadlineMs: number,
    signal?: AbortSignal,
  ): Promise<void>;
}
