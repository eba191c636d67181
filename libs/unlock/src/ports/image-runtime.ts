/** An image as the engine knows it. */
export interface EngineImage {
  /** Repository and tag, for example `azaion/detections:1.4.0`. */
  readonly reference: string;
  /** `sha256:…` of the image's configuration. */
  readonly imageId: string;
}

/** Where images run from: a container engine, or a directory that an orchestrator imports. */
export abstract class ImageRuntime {
  /**
   * Which of these references are there.
   *
   * @param references - Repository and tag, at most 256.
   * @returns One entry for each reference that is there; what is missing is left out. The ids are the engine's own word.
   * @throws UnlockError `unlock.engine-not-installed` | `unlock.engine-unreachable` | `unlock.engine-forbidden` | `unlock.engine-failed`.
   */
  abstract present(references: readonly string[], signal: AbortSignal): Promise<readonly EngineImage[]>;

  /**
   * Feeds an image archive (`docker save` or OCI layout) to the engine (F4). It is read no faster than the engine takes it.
   *
   * When the archive throws, or `signal` aborts, nothing more is handed over, the engine is told that the archive is incomplete,
   * and what was thrown (or the signal's reason) is thrown. The caller verifies the outcome: it is the engine's own word.
   *
   * @param archive - Plaintext. It ends normally only when it is complete.
   * @returns The images that the engine says it loaded; never empty.
   * @throws UnlockError as `present`, and `unlock.no-space`.
   */
  abstract load(archive: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<readonly EngineImage[]>;

  /**
   * Takes images away again. References that are not there are no error. A runtime that keeps archives as a whole removes
   * every image of an archive that holds one of them.
   *
   * @throws UnlockError as `present`.
   */
  abstract remove(references: readonly string[], signal: AbortSignal): Promise<void>;
}
