import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { arch } from 'node:process';

import { findProgram, runCommand } from '@azaion/testing';

/** Processors that images are made for, as Docker and Debian name them. */
export type Architecture = 'amd64' | 'arm64';

/** The processor of this machine. */
export const OWN_ARCHITECTURE: Architecture = arch === 'arm64' ? 'arm64' : 'amd64';

const BINFMT = '/proc/sys/fs/binfmt_misc';
/** The head of an ELF file of the processor and which bits of it count, as Debian's qemu-user-static has them. */
const ELF_HEADS = {
  amd64: {
    program: 'qemu-x86_64-static',
    magic: '7f454c4602010100000000000000000002003e00',
    mask: 'fffffffffffefe00fffffffffffffffffeffffff',
  },
  arm64: {
    program: 'qemu-aarch64-static',
    magic: '7f454c460201010000000000000000000200b700',
    mask: 'ffffffffffffff00fffffffffffffffffeffffff',
  },
} as const;

/**
 * Lets this machine's kernel run programs of another processor, also in containers, by giving them to QEMU. Needs root.
 *
 * @returns Takes back what was changed.
 * @throws Error that says what is missing.
 */
export async function emulate(architecture: Architecture): Promise<() => Promise<void>> {
  if (architecture === OWN_ARCHITECTURE) return () => Promise.resolve();
  const { program, magic, mask } = ELF_HEADS[architecture];
  const emulator = findProgram(program);
  if (emulator === undefined)
    throw new Error(`${program} is missing; on Debian: apt-get install --no-install-recommends qemu-user-static`);
  const isMounted = existsSync(`${BINFMT}/register`);
  if (!isMounted)
    await runCommand('mount', ['-t', 'binfmt_misc', 'binfmt_misc', BINFMT]).catch((cause: unknown) => {
      throw new Error('This kernel has no binfmt_misc: images of another processor cannot be run here.', { cause });
    });
  const unmount = async (): Promise<void> => {
    if (!isMounted) await runCommand('umount', [BINFMT]);
  };
  for (const name of await readdir(BINFMT))
    if ((await readFile(`${BINFMT}/${name}`, 'utf8').catch(() => '')).includes(`magic ${magic}`)) return unmount;
  // "F" opens the emulator now: inside of a container it could not be found.
  const name = `azaion-${architecture}`;
  await writeFile(`${BINFMT}/register`, `:${name}:M::${escaped(magic)}:${escaped(mask)}:${emulator}:F`);
  return async () => {
    await writeFile(`${BINFMT}/${name}`, '-1');
    await unmount();
  };
}

function escaped(hexadecimal: string): string {
  return hexadecimal.replaceAll(/../g, '\\x$&');
}
