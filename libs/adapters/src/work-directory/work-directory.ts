import { randomUUID } from 'node:crypto';
import { lstat, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';

import { systemCode } from '../file-store/file-errors.js';

/** Whoever uses a directory listens here. A process id would not do: ids are given out again, and mean nothing in another container. */
const ALIVE = 'alive';
const DRAFT = '.draft';
/** A directory is a draft for some milliseconds, unless its process was killed in them. */
const DRAFT_MS = 60_000;

/** A directory that one process works in. */
export interface WorkDirectory {
  readonly directory: string;
  /** Those of the same prefix whose processes have died since. */
  readonly left: readonly LeftDirectory[];
  /** Removes it with everything in it. */
  readonly remove: () => Promise<void>;
}

/** What a process that was killed has left behind. */
export interface LeftDirectory {
  readonly directory: string;
  /** Removes it. */
  readonly discard: () => Promise<void>;
}

/**
 * Makes a directory for what must not outlive a process, readable by its user alone.
 *
 * @param root - Absolute and short: the path of a socket has 107 bytes at most.
 * @param prefix - What kind of work it is.
 * @param owner - Whose work, as part of its name.
 * @throws Error of the file system.
 */
export async function openWorkDirectory(root: string, prefix: string, owner = ''): Promise<WorkDirectory> {
  const left: LeftDirectory[] = [];
  for (const name of await readdir(root)) {
    const directory = join(root, name);
    if (name.startsWith(prefix) && (await isLeft(directory)))
      left.push({ directory, discard: () => removeTree(directory) });
  }
  const directory = join(root, `${prefix}${owner}${randomUUID().slice(0, 13)}`);
  const draft = `${directory}${DRAFT}`;
  await mkdir(draft, { mode: 0o700 });
  // It shows up under its name with somebody listening in it already.
  const server = await listening(join(draft, ALIVE));
  await rename(draft, directory);
  return {
    directory,
    left,
    remove: async () => {
      server.close();
      await removeTree(directory);
    },
  };
}

/** A process that was killed may write into it for a moment still. */
function removeTree(directory: string): Promise<void> {
  return rm(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
}

/** Everybody may make what they like in a place for all: what is another user's, or no directory, is not ours to remove. */
async function isLeft(directory: string): Promise<boolean> {
  try {
    const found = await lstat(directory);
    if (!found.isDirectory() || found.uid !== process.getuid?.()) return false;
    if (directory.endsWith(DRAFT)) return Date.now() - found.mtimeMs > DRAFT_MS;
  } catch {
    return false; // it has just got its name, or is gone
  }
  const answer = await answerOf(join(directory, ALIVE));
  return answer === 'ECONNREFUSED' || answer === 'ENOENT';
}

/** @returns `undefined` when somebody listens. */
function answerOf(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once('error', (error) => resolve(systemCode(error)));
  });
}

function listening(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', reject);
    server.listen(path, () => resolve(server));
    server.unref();
  });
}
