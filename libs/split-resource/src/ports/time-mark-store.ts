/** A moment that the Admin API signed, and how long this device has run since. */
export interface TimeMark {
  /** Seconds since 1970. */
  readonly signedSeconds: number;
  readonly runningMs: number;
  /** What the running clock read at that running time, where there is one. */
  readonly clock?: { readonly era: string; readonly elapsedMs: number } | undefined;
}

/** Keeps one {@link TimeMark} across restarts. */
export abstract class TimeMarkStore {
  /** The mark as it was written last, `undefined` when there is none or it was changed by somebody else. */
  abstract read(): Promise<TimeMark | undefined>;

  /** Replaces the mark; after it resolves it survives a power cut. @throws ResourceError `resource.no-space`. */
  abstract write(mark: TimeMark): Promise<void>;
}
