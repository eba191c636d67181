import { randomBytes } from 'node:crypto';
import { link, mkdir, open, realpath, rm, stat } from 'node:fs/promises';
import { dirname, relative, sep } from 'node:path';

import { CryptoError, KEK_BYTES, KekRing, type KeyPurpose, KeyVault, MAX_KEKS } from '@azaion/crypto';
import { fromBase64Url, toBase64Url } from '@azaion/kernel';

/** A line is base64url of 32 bytes and its end: more than this is not a key file. */
const MAX_FILE_BYTES = MAX_KEKS * 48;
const OTHERS_MAY = 0o077;

/** How a key file is opened. */
export interface FileKeyVaultOptions {
  /** Make the file with one fresh key where there is none. Otherwise a missing file is an error: a new key would open nothing that is stored. */
  readonly createIfMissing: boolean;
  /** A directory in which the file must not lie: whoever copies the data must not copy its key. Left out in development. */
  readonly apartFrom?: string;
}

/**
 * A key vault whose keys stand in a file: a line of base64url (32 bytes) for each, the current one first, earlier ones below until everything
 * has been wrapped anew. The file belongs to the service alone (mode 0600). It is read once.
 */
export class FileKeyVault extends KeyVault {
  private constructor(private readonly ring: KekRing) {
    super();
  }

  /**
   * Reads the key file.
   *
   * @throws CryptoError `keys.kek-invalid` when it is missing, readable by others, beside the data, or not a list of keys. Its cause names the file.
   */
  static async open(path: string, options: FileKeyVaultOptions): Promise<FileKeyVault> {
    try {
      if (options.createIfMissing && !(await exists(path))) await createOnce(path);
      const keks = await readKeys(path);
      if (options.apartFrom !== undefined) await assertApart(path, options.apartFrom);
      return new FileKeyVault(new KekRing(keks));
    } catch (cause) {
      if (cause instanceof KeyFileProblem || cause instanceof RangeError || isSystemError(cause))
        throw new CryptoError(
          'keys.kek-invalid',
          `The file with the key-encryption keys cannot be used: ${reason(cause)}.`,
          {
            cause: new Error(path, { cause }),
          },
        );
      throw cause;
    }
  }

  override async wrap(purpose: KeyPurpose, rowId: string, secret: Uint8Array): Promise<Uint8Array> {
    return Promise.resolve(this.ring.wrap(purpose, rowId, secret));
  }

  override async unwrap(purpose: KeyPurpose, rowId: string, wrapped: Uint8Array): Promise<Uint8Array> {
    return Promise.resolve(this.ring.unwrap(purpose, rowId, wrapped));
  }

  override async macKey(purpose: 'url-signing'): Promise<Uint8Array> {
    return Promise.resolve(this.ring.macKey(purpose));
  }
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

async function readKeys(path: string): Promise<readonly Uint8Array[]> {
  const file = await open(path, 'r');
  try {
    const { mode, size } = await file.stat();
    if ((mode & OTHERS_MAY) !== 0) throw new KeyFileProblem('others may read or change it, set its mode to 0600');
    if (size > MAX_FILE_BYTES) throw new KeyFileProblem('it is too long');
    const lines = (await file.readFile('utf8')).replace(/\n$/, '').split('\n');
    return lines.map((line) => {
      const key = fromBase64Url(line, KEK_BYTES);
      if (key?.length !== KEK_BYTES) throw new KeyFileProblem('a line is not base64url of 32 bytes');
      return key;
    });
  } finally {
    await file.close();
  }
}

async function assertApart(path: string, directory: string): Promise<void> {
  const fromDirectory = relative(await realpath(directory), await realpath(path));
  if (fromDirectory !== '..' && !fromDirectory.startsWith(`..${sep}`))
    throw new KeyFileProblem('it lies beside the data, keep it apart');
}
