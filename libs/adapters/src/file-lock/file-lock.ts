import { hash, randomUUID } from 'node:crypto';
import { link, readFile, rm, stat, writeFile } from 'node:fs/promises';

import { systemCode } from '../file-store/file-errors.js';

/** No command holds a lock longer, unless its process id went to another program. */
const LONGEST_MS = 10 * 60_000;

/** A lock that this process holds. */
export interface FileLock {
  /** Lets others have it. */
  release(): Promise<void>;
}

/**
 * Takes a lock between processes of one machine, without waiting. One that a dead process left behind is taken over, by one of those who
 * try. The directory must exist.
 *
 * @param longestMs - A lock that is older is taken over even when a process has its owner's id; never, unless given.
 * @returns `undefined` while somebody else holds it, or is taking it over.
 */
export async function tryLock(path: string, longestMs = Infinity): Promise<FileLock | undefined> {
  const own = `${String(process.pid)} ${randomUUID()}`;
  const draft = `${path}.${randomUUID()}`;
  await writeFile(draft, own, { flag: 'wx', mode: 0o600 });
  try {
    if (!(await appears(draft, path)) && !(await takesOver(draft, path, longestMs))) return undefined;
  } finally {
    await rm(draft, { force: true });
  }
  return {
    release: async () => {
      if ((await textOf(path)) === own) await rm(path, { force: true });
    },
  };
}

/** Runs while holding a lock; waits for it. */
export async function withLock<T>(path: string, retryMs: number, work: () => Promise<T>): Promise<T> {
  let lock = await tryLock(path, LONGEST_MS);
  while (lock === undefined) {
    await new Promise((resolve) => setTimeout(resolve, retryMs));
    lock = await tryLock(path, LONGEST_MS);
  }
  try {
    return await work();
  } finally {
    await lock.release();
  }
}

/** The process that holds a lock or left it behind; `undefined` where there is none. */
export async function lockOwner(path: string): Promise<number | undefined> {
  const text = await textOf(path);
  return text === undefined ? undefined : ownerIn(text);
}

/** The lock shows up with its owner in it, or not at all. */
async function appears(draft: string, path: string): Promise<boolean> {
  try {
    await link(draft, path);
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/** Every left lock has a lock of its own: only its holder removes the left one, so that nobody removes what somebody else has just taken. */
async function takesOver(draft: string, path: string, longestMs: number): Promise<boolean> {
  const left = await textOf(path);
  if (left === undefined) return appears(draft, path);
  if (await isHeld(path, left, longestMs)) return false;
  const guard = await tryLock(`${path}.${hash('sha256', left).slice(0, 16)}`);
  if (guard === undefined) return false;
  try {
    if ((await textOf(path)) === left) await rm(path, { force: true });
    return await appears(draft, path);
  } finally {
    await guard.release();
  }
}

async function isHeld(path: string, text: string, longestMs: number): Promise<boolean> {
  const taken = await stat(path).catch(() => undefined);
  if (taken === undefined || Date.now() - taken.mtimeMs > longestMs) return false;
  const pid = ownerIn(text);
  if (pid === undefined) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === 'EPERM';
  }
}

function ownerIn(text: string): number | undefined {
  const pid = Number(text.split(' ', 1)[0]);
  return Number.isSafeInteger(pid) && pid > 0 ? pid : undefined;
}

async function textOf(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined);
}
