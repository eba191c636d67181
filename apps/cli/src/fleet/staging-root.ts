import { chmod, chown, lstat, mkdir, realpath, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, sep } from 'node:path';

import { replaceDurably } from '@azaion/adapters/file-store';

import { usageFailure } from '../cli-failure.js';
import { systemErrorCode } from '../failure-table.js';

const SYSTEM_DIRECTORY = 0o755;
const OWN_DIRECTORY = 0o700;

/** Who owns a file, by numbers: the names of a device are not those of this machine. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Reads `UID` or `UID:GID`. @throws CliFailure exit `usage`. */
export function parseOwner(text: string): Owner {
  const match = /^(\d{1,9})(?::(\d{1,9}))?$/.exec(text);
  if (match === null)
    throw usageFailure(`"${text}" is not an owner.`, 'Write numbers: UID or UID:GID, as on the device.');
  return { uid: Number(match[1]), gid: Number(match[2] ?? match[1]) };
}

/** A root file system in the making: a directory that will be `/` on the device. */
export class StagingRoot {
  private constructor(private readonly root: string) {}

  /** @throws CliFailure exit `usage` when there is no such directory: a typing mistake must not become one. */
  static async open(directory: string): Promise<StagingRoot> {
    const found = await stat(directory).catch(() => undefined);
    if (found?.isDirectory() !== true)
      throw usageFailure(
        `There is no directory "${directory}".`,
        'Give the directory that will be "/" on the device; on the device itself, "/".',
      );
    return new StagingRoot(await realpath(directory));
  }

  /**
   * Where a path of the device lies here.
   *
   * @throws CliFailure exit `usage` when a link on the way leads out of the staging directory: the file would land on this machine.
   */
  async locate(path: string): Promise<string> {
    if (!isAbsolute(path) || path.endsWith('/'))
      throw usageFailure(
        `"${path}" is not the path of a file on the device.`,
        'Write it in full: /etc/azaion/device.conf.',
      );
    const target = join(this.root, path);
    for (let at = dirname(target); ; at = dirname(at)) {
      const real = await realpath(at).catch((error: unknown) => {
        if (systemErrorCode(error) === 'ENOENT') return undefined;
        throw error;
      });
      if (real === undefined) {
        if (await isLink(at)) throw this.leadsOut(at); // to what is not there, and need not be inside
        continue;
      }
      if (!this.holds(real)) throw this.leadsOut(at);
      break;
    }
    if (await isLink(target)) throw this.leadsOut(target);
    return target;
  }

  /** Writes a file that its owner alone may read, with the directories it needs. @param path - From {@link locate}. */
  async write(path: string, content: string, owner: Owner | undefined): Promise<void> {
    const directory = dirname(path);
    const first = await mkdir(dirname(directory), { recursive: true });
    // Whatever this user's mask is: a directory like /etc must be open to everybody on the device.
    for (let at = dirname(directory); first !== undefined && at.length >= first.length; at = dirname(at))
      await chmod(at, SYSTEM_DIRECTORY);
    const made = await mkdir(directory, { recursive: true, mode: OWN_DIRECTORY });
    await replaceDurably(path, content);
    if (owner === undefined) return;
    if (made !== undefined) await chown(directory, owner.uid, owner.gid);
    await chown(path, owner.uid, owner.gid);
  }

  private holds(path: string): boolean {
    const inside = relative(this.root, path);
    return inside === '' || (inside !== '..' && !inside.startsWith(`..${sep}`) && !isAbsolute(inside));
  }

  private leadsOut(path: string) {
    return usageFailure(
      `"${path}" is a link that leads out of the staging directory.`,
      'Give the place it stands for on the device with --path.',
    );
  }
}

async function isLink(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined))?.isSymbolicLink() === true;
}
