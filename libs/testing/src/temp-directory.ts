import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A directory of one test's own. */
export interface TempDirectory {
  /** Absolute path. */
  readonly path: string;
  /** Deletes the directory with everything in it; may be called again. */
  remove(): Promise<void>;
}

/**
 * Makes an empty directory below the system's temporary directory.
 *
 * @param label - Part of its name, so that a leftover can be told.
 */
export async function tempDirectory(label = 'azaion'): Promise<TempDirectory> {
  const path = await mkdtemp(join(tmpdir(), `${label}-`));
  return { path, remove: () => rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }) };
}
