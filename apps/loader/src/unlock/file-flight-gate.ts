import { access, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

import { FlightGate } from '@azaion/unlock';

/** Closed while a file exists, which whoever flies the device makes and takes away. */
export class FileFlightGate extends FlightGate {
  /**
   * @param isNamed - Somebody has said that the device is told by this file: without its directory nobody can make it, and the gate counts
   *   as closed.
   */
  constructor(
    private readonly path: string,
    private readonly isNamed: boolean,
  ) {
    super();
  }

  /** A file that cannot be looked at counts as there: who does not know must not load. */
  override async isClosed(): Promise<boolean> {
    const problem = await problemOf(access(this.path));
    if (problem === undefined || !ABSENT.includes(problem)) return true;
    if (!this.isNamed) return false;
    const directory = await stat(dirname(this.path)).catch(() => undefined);
    return directory?.isDirectory() !== true;
  }
}

const ABSENT: readonly string[] = ['ENOENT', 'ENOTDIR'];

async function problemOf(looking: Promise<void>): Promise<string | undefined> {
  try {
    await looking;
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unknown';
  }
}
