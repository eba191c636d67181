import { existsSync, readdirSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { tempDirectory } from './temp-directory.js';

const LIBRARIES = '/usr/lib';

/** The wall clock of processes that were started with its settings; what they measure times with stays right. */
export interface ProcessClock {
  /** Settings of the processes. */
  readonly env: Readonly<Record<string, string>>;
  /** Lets the clock jump. @param days - How far it is then from the machine's own. */
  jump(days: number): Promise<void>;
  remove(): Promise<void>;
}

/** A clock that shows the machine's own time until it jumps; by libfaketime, the component `faketime`. */
export async function processClock(): Promise<ProcessClock> {
  const directory = await tempDirectory('azaion-clock');
  const file = join(directory.path, 'offset');
  const jump = async (days: number): Promise<void> => {
    await writeFile(`${file}.new`, `${days < 0 ? '' : '+'}${days}d\n`);
    await rename(`${file}.new`, file); // it is read at any moment
  };
  await jump(0);
  return {
    env: {
      LD_PRELOAD: library(),
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      NO_FAKE_STAT: '1',
    },
    jump,
    remove: () => directory.remove(),
  };
}

/** Debian keeps it in a directory of the processor's name. @throws Error where it is not. */
function library(): string {
  const found = readdirSync(LIBRARIES)
    .map((name) => join(LIBRARIES, name, 'faketime', 'libfaketime.so.1'))
    .find((path) => existsSync(path));
  if (found === undefined) throw new Error(`there is no faketime/libfaketime.so.1 below ${LIBRARIES}`);
  return found;
}
