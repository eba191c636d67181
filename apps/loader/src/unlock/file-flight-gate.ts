import { access } from 'node:fs/promises';

import { FlightGate } from '@azaion/unlock';

/** Closed while a file exists, which whoever flies the device makes and takes away. */
export class FileFlightGate extends FlightGate {
  constructor(private readonly path: string) {
    super();
  }

  /** A file that cannot be looked at counts as there: who does not know must not load. */
  override isClosed(): Promise<boolean> {
    return access(this.path).then(
      () => true,
      (error: unknown) => !ABSENT.includes((error as NodeJS.ErrnoException).code),
    );
  }
}

const ABSENT: readonly (string | undefined)[] = ['ENOENT', 'ENOTDIR'];
