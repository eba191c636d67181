import { randomBytes } from 'node:crypto';
import type { Stats } from 'node:fs';
import { link, mkdir, open, realpath, rm, stat } from 'node:fs/promises';
import { dirname, relative, sep } from 'node:path';

import { CryptoError, KEK_BYTES, KekRing, type KeyPurpose, KeyVault, MAX_KEKS } from '@azaion/crypto';
import { fromBase64Url, toBase64Url } from '@azaion/kernel';

import { replaceDurably } from '../file-store/index.js';
import { othersMayUse } from './secret-file-mode.js';

/** A line is base64url of 32 bytes and its end: more than this is not a key file. */
const MAX_FILE_BYTES = MAX_KEKS * 48;

/** How a key file is opened. */
export interface FileKeyVaultOptions {
  /** Make the file with one fresh key where there is none. Otherwise a missing file is an error: a new key would open nothing that is stored. */
  readonly createIfMissing: boolean;
  /** A directory in which the file must not lie: whoever copies the data must not copy its key. Left out in development. */
  readonly apartFrom?: string;
}

/** Time after which a use looks whether the file was changed. */
const LOOK_AGAIN_MS = 5_000;

/** The keys of a file, and which state of the file they are. */
interface ReadKeys {
  readonly ring: KekRing;
  readonly state: string;
}

/**
 * A key vault whose keys stand in a file: a line of base64url (32 bytes) for each, the current one first, earlier ones below until everything
 * has been wrapped anew. The file belongs to the service alone (mode 0600), or is root's and handed to its group (0440). A running service notices a changed file within 5 seconds, or at
 * once when it meets a row that names a key it does not have; a changed file that cannot be used is left alone and the keys at hand stay.
 */
export class FileKeyVault extends KeyVault {
  private lookedAtMs = performance.now();
  private looking: Promise<void> | undefined;

  private constructor(
    private readonly path: string,
    private readonly options: FileKeyVaultOptions,
    private keys: ReadKeys,
  ) {
    super();
  }

  /**
   * Reads the key file.
   *
   * @throws CryptoError `keys.kek-invalid` when it is missing, readable by others, beside the data, or not a list of keys. Its cause names the file.
   */
  static async open(path: string, options: FileKeyVaultOptions): Promise<FileKeyVault> {
    return orKekInvalid(path, async () => {
      if (options.createIfMissing && !(await exists(path))) await createOnce(path);
      return new FileKeyVault(path, options, await readRing(path, options));
    });
  }

  override async wrap(purpose: KeyPurpose, rowId: string, secret: Uint8Array): Promise<Uint8Array> {
    await this.look(LOOK_AGAIN_MS);
    return this.keys.ring.wrap(purpose, rowId, secret);
  }

  override async unwrap(purpose: KeyPurpose, rowId: string, wrapped: Uint8Array): Promise<Uint8Array> {
    await this.look(this.keys.ring.names(wrapped) ? LOOK_AGAIN_MS : 0);
    return this.keys.ring.unwrap(purpose, rowId, wrapped);
  }

  override async macKey(purpose: 'url-signing'): Promise<Uint8Array> {
    return this.keys.ring.macKey(purpose);
  }

  override async prefixes(): Promise<readonly Uint8Array[]> {
    await this.look(0);
    return this.keys.ring.prefixes();
  }

  /** Reads the file anew when the last look is older than this and it has changed since. */
  private async look(afterMs: number): Promise<void> {
    if (this.looking === undefined && performance.now() - this.lookedAtMs < afterMs) return;
    this.looking ??= this.reread().finally(() => {
      this.looking = undefined;
      this.lookedAtMs = performance.now();
    });
    await this.looking;
  }

  private async reread(): Promise<void> {
    try {
      const file = await stat(this.path);
      if (stateOf(file) !== this.keys.state) this.keys = await readRing(this.path, this.options);
    } catch {
      // Half written, or taken away: what is at hand still opens everything that it opened before.
    }
  }
}

/**
 * Puts a fresh key in front of those in a key file: what is wrapped from now on is wrapped under it, the others keep opening what they wrapped.
 *
 * @throws CryptoError `keys.kek-invalid` when the file cannot be used, or holds as many keys as a vault may have.
 */
export async function addKeyEncryptionKey(path: string): Promise<void> {
  await orKekInvalid(path, async () => {
    const { keks } = await readKeys(path);
    if (keks.length >= MAX_KEKS)
      throw new KeyFileProblem(`it holds ${MAX_KEKS} keys already, remove those that nothing is wrapped under`);
    await replaceDurably(path, [randomBytes(KEK_BYTES), ...keks].map((key) => `${toBase64Url(key)}\n`).join(''));
  });
}

async function orKekInvalid<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof KeyFileProblem || cause instanceof RangeError || isSystemError(cause))
      throw new CryptoError(
        'keys.kek-invalid',
        `The file with the key-encryption keys cannot be used: ${reason(cause)}.`,
        { cause: new Error(path, { cause }) },
      );
    throw cause;
  }
}

async function readRing(path: string, { apartFrom }: FileKeyVaultOptions): Promise<ReadKeys> {
  const { keks, state } = await readKeys(path);
  if (apartFrom !== undefined) await assertApart(path, apartFrom);
  return { ring: new KekRing(keks), state };
}

function stateOf({ ino, size, mtimeMs }: Stats): string {
  return `${ino}/${size}/${mtimeMs}`;
}

/** What is wrong with the file, in words that are safe to show. */
class KeyFileProblem extends Error {}

function reason(cause: Error): string {
  if (cause instanceof KeyFileProblem || cause instanceof RangeError) return cause.message;
  return (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'it is missing' : 'it cannot be read';
}

function isSystemError(value: unknown): value is NodeJS.ErrnoException {
  return typeof value === 'object' && value !== null && 'syscall' in value;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** Several replicas may start at once on one directory: a link either makes the whole file or finds another's. */
async function createOnce(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const draft = `${path}.${toBase64Url(randomBytes(8))}.new`;
  try {
    const file = await open(draft, 'wx', 0o600);
    try {
      await file.writeFile(`${toBase64Url(randomBytes(KEK_BYTES))}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await link(draft, path).catch((error: unknown) => {
      if (!isSystemError(error) || error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(draft, { force: true });
  }
}

async function readKeys(path: string): Promise<{ readonly keks: readonly Uint8Array[]; readonly state: string }> {
  const file = await open(path, 'r');
  try {
    const stats = await file.stat();
    if (othersMayUse(stats, process.getuid?.()))
      throw new KeyFileProblem('others may read or change it, set its mode to 0600');
    if (stats.size > MAX_FILE_BYTES) throw new KeyFileProblem('it is too long');
    const lines = (await file.readFile('utf8')).replace(/\n$/, '').split('\n');
    const keks = lines.map((line) => {
      const key = fromBase64Url(line, KEK_BYTES);
      if (key?.length !== KEK_BYTES) throw new KeyFileProblem('a line is not base64url of 32 bytes');
      return key;
    });
    return { keks, state: stateOf(stats) };
  } finally {
    await file.close();
  }
}

async function assertApart(path: string, directory: string): Promise<void> {
  const fromDirectory = relative(await realpath(directory), await realpath(path));
  if (fromDirectory !== '..' && !fromDirectory.startsWith(`..${sep}`))
    throw new KeyFileProblem('it lies beside the data, keep it apart');
}
