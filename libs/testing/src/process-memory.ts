import { readdir, readFile, writeFile } from 'node:fs/promises';

/** Resident memory of a process and everything it started, in bytes. */
export interface TreeMemory {
  /** Sum of VmRSS: what the tree holds now. Pages shared between processes count once for each. */
  readonly residentBytes: number;
  /** Sum of VmHWM: an upper bound of what the tree held at once, since each process may have peaked at another time. */
  readonly peakBytes: number;
}

/**
 * Reads the memory of a process tree from `/proc` (Linux only).
 *
 * @throws Error when the process is gone.
 */
export async function processTreeMemory(pid: number): Promise<TreeMemory> {
  const status = await statusOf(pid);
  if (status === undefined) throw new Error(`Process ${pid} is gone: its memory cannot be read.`);
  let residentBytes = kibibytes(status, 'VmRSS');
  let peakBytes = kibibytes(status, 'VmHWM');
  for (const child of await descendantsOf(pid)) {
    const childStatus = await statusOf(child);
    if (childStatus === undefined) continue;
    residentBytes += kibibytes(childStatus, 'VmRSS');
    peakBytes += kibibytes(childStatus, 'VmHWM');
  }
  return { residentBytes, peakBytes };
}

/** Has the kernel count the peak (VmHWM) of a process anew, from what it holds now (Linux only; proc(5), `clear_refs`). */
export async function forgetPeakMemory(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, '5');
}

/** The processes that a process has started, and those that they have (Linux only). One whose parent has ended is not among them. */
export async function descendantsOf(root: number): Promise<number[]> {
  const childrenOf = new Map<number, number[]>();
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const status = await statusOf(Number(entry));
    const parent = Number(/^PPid:\s+(\d+)/m.exec(status ?? '')?.[1]);
    childrenOf.set(parent, [...(childrenOf.get(parent) ?? []), Number(entry)]);
  }
  const found: number[] = [];
  const waiting = [root];
  for (let parent = waiting.pop(); parent !== undefined; parent = waiting.pop()) {
    const children = childrenOf.get(parent) ?? [];
    found.push(...children);
    waiting.push(...children);
  }
  return found;
}

async function statusOf(pid: number): Promise<string | undefined> {
  return readFile(`/proc/${pid}/status`, 'utf8').catch(() => undefined);
}

function kibibytes(status: string, field: string): number {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status);
  return match === null ? 0 : Number(match[1]) * 1024;
}
