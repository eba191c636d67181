/** What a thread is to do. */
export interface FuzzJob {
  readonly target: string;
  readonly cases: number;
  readonly seed: number;
  /** Of a `CaseLog`. */
  readonly memory: SharedArrayBuffer;
}

/** What it tells. */
export interface FuzzReport {
  readonly finding: { readonly bytes: Uint8Array; readonly error: string } | undefined;
  /** How much more memory the process holds than after the first tenth of the cases. */
  readonly grownBytes: number;
}
