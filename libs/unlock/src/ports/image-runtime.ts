/** An image as the engine knows it. */
export interface EngineImage {
  /** Repository and tag, for example `azaion/detections:1.4.0`. */
  readonly reference: string;
  /** `sha256:…` of the image's configuration. */
  readonly imageId: string;
}

/** What a reference shall mean from now on. */
export interface ImageAssignment {
  readonly reference: string;
  /** An id that the engine has; `null`: the reference goes away, and its image with it unless something else needs it. */
  readonly imageId: string | null;
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
   * @param archive - Plaintext, nobody else's: a part's memory may be given back once it was taken. It ends normally only when it is complete; layers
   *   that {@link layers} names may be missing in it.
   * @returns The images that the engine says it loaded; never empty.
   * @throws UnlockError as `present`, `unlock.archive-invalid` and `unlock.no-space`.
   */
  abstract load(archive: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<readonly EngineImage[]>;

  /**
   * Sets or takes away references. Taking away one that is not there is no error. A runtime that keeps archives as a whole cannot
   * bring an earlier image back: it takes away every image of an archive that holds one that is to change.
   *
   * @throws UnlockError as `present`.
   */
  abstract assign(assignments: readonly ImageAssignment[], signal: AbortSignal): Promise<void>;

  /**
   * The chain ids (`sha256:…`) of layers that an archive may go without, because the engine has them and takes such archives, also while it
   * takes another one.
   *
   * @returns `undefined` where it takes whole archives only.
   * @throws UnlockError as `present`.
   */
  abstract layers(signal: AbortSignal): Promise<ReadonlySet<string> | undefined>;
}
