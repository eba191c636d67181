/** A file of this process that holds a part of a ciphertext. */
export interface CiphertextFile {
  readonly descriptor: number;
  readonly sizeBytes: number;
}

/** What every thread is started with. All see the same counters and share the slices out among themselves. */
export interface DecipherJob {
  /** 32 bytes. */
  readonly aesKey: Uint8Array;
  /** In order; together `IV ‖ C`. */
  readonly files: readonly CiphertextFile[];
  /** Open for writing: plaintext is written where it belongs. */
  readonly descriptor: number;
  /** Plaintext bytes; what follows them is padding. */
  readonly totalBytes: number;
  /** At {@link NEXT_SLICE}, {@link DONE_SLICES}, {@link STOPPED}. */
  readonly counters: Int32Array;
}

/** Index of the number of slices that somebody has begun. */
export const NEXT_SLICE = 0;
/** Index of the number of slices that are in the file. */
export const DONE_SLICES = 1;
/** Index of the mark that tells all to stop. */
export const STOPPED = 2;
/** Plaintext that a thread takes in one go: enough that counting costs nothing, little enough that all end at about the same time. */
export const SLICE_BYTES = 4 * 1024 * 1024;

/** What a thread says at its end. */
export type DecipherAnswer =
  | { readonly outcome: 'done' }
  /** The files are shorter than they were. */
  | { readonly outcome: 'missing' }
  | { readonly outcome: 'failed'; readonly message: string; readonly systemCode: string | undefined };
