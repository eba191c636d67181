import { type FileHandle, open, readFile, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';

import { ChunkWorkerPool } from '@azaion/adapters/chunk-workers';
import { decipherLegacyFiles, type LegacyFilesToDecipher } from '@azaion/adapters/legacy-files';
import { LEGACY_RESOURCE_KEY, legacyAesKey, legacyApiKey, legacyArchiveKey, legacyHardwareHash } from '@azaion/crypto';
import { type ByteRange, releaseBytes, type ResourceName, SystemClock } from '@azaion/kernel';
import {
  type FoundBigPart,
  InlineChunkSealer,
  KnownLegacyParts,
  LegacyBigParts,
  LegacySmallParts,
  OpenLegacyResource,
  type RunningHash,
} from '@azaion/split-resource';

import { usageFailure } from '../cli-failure.js';
import type { CommandContext } from '../command-context.js';
import { failure } from '../failure-table.js';
import { formatBytes } from '../format.js';
import { PASSWORD, SecretReader } from '../password.js';
import { fillWholeFile, writeWholeFile } from '../whole-file.js';

const READ_BYTES = 1024 * 1024;
/** One more than can be in use at once. */
const READ_BUFFERS = 4;
const MAX_KEY_FRAGMENT_BYTES = 1024 * 1024;
/** Memory in which content waits to be hashed. */
const HASH_SLOT_BYTES = READ_BYTES;
const HASH_SLOTS = 8;
/** Less is hashed, or decrypted, before a thread has started. */
const THREAD_FROM_BYTES = 16 * 1024 * 1024;
/** Files have no name in the older system. */
const NO_NAME: ResourceName = { folder: '', name: '' };

/** Options of `azaion legacy open-archive`. */
export interface LegacyArchiveOptions {
  readonly output: string;
  readonly keyFragment: string;
  /** Hex; what the content must have. */
  readonly sha256?: string;
  /** Neither computes a hash that nobody asked for nor waits until the content is on the disk. */
  readonly fast?: boolean;
}

/** Options of `azaion legacy open`. Without one for the key: the shared resource key. */
export interface LegacyOpenOptions extends Omit<LegacyArchiveOptions, 'keyFragment'> {
  readonly keyFragment?: string;
  readonly email?: string;
  readonly passwordFile?: string;
  readonly fingerprint?: string;
}

/** Opens a resource of the older format from its two parts, or from one file with both. Source: docs/formats/legacy.md. */
export async function openLegacy(
  context: CommandContext,
  parts: readonly string[],
  options: LegacyOpenOptions,
): Promise<void> {
  if (options.keyFragment !== undefined && options.email !== undefined)
    throw usageFailure('There is one key: give either --key-fragment or --email.');
  if (options.email === undefined && (options.fingerprint !== undefined || options.passwordFile !== undefined))
    throw usageFailure('--fingerprint and --password-file belong to --email.', 'Give --email too.');
  await openWith(context, parts, options, await keyOf(context, options));
}

/** Opens an image archive of the older format. Source: docs/formats/legacy.md. */
export async function openLegacyArchive(
  context: CommandContext,
  path: string,
  options: LegacyArchiveOptions,
): Promise<void> {
  await openWith(context, [path], options, await keyOfFragment(options.keyFragment));
}

async function openWith(
  { output, signal }: CommandContext,
  parts: readonly string[],
  options: Pick<LegacyArchiveOptions, 'output' | 'sha256' | 'fast'>,
  key: Uint8Array,
): Promise<void> {
  const expected = options.sha256?.toLowerCase();
  if (expected !== undefined && !/^[0-9a-f]{64}$/.test(expected))
    throw usageFailure('--sha256 takes 64 hexadecimal digits.');
  const files = await Promise.all(parts.map(sizedFile));
  const content = new LegacyFiles(files);
  const known = new KnownLegacyParts(new SystemClock());
  const opening = new OpenLegacyResource({ smalls: content.small, cdn: content.big, aesKey: key, known });
  const opened = await opening.run(NO_NAME, signal);
  const { totalBytes } = opened;
  const progress = output.progress('open', totalBytes);
  const onBytes = (bytes: number): void => progress.update(bytes, totalBytes);
  let sha256: string | undefined;
  try {
    // A hash that nobody asked for costs more than everything else together: it is a chain that keeps one core busy.
    if (options.fast === true && expected === undefined && totalBytes >= THREAD_FROM_BYTES)
      await fillWholeFile(
        options.output,
        (file) => decipherAll(files, { aesKey: key, descriptor: file.fd, totalBytes }, onBytes, signal),
        { durable: false },
      );
    else {
      const hashing = options.fast === true && expected === undefined ? undefined : new HashBeside(totalBytes, signal);
      try {
        const plaintext = hashed(opened.read(undefined, signal), hashing, (digest) => {
          sha256 = digest;
          if (expected !== undefined && sha256 !== expected)
            throw failure('legacy.invalid', 'The content does not have the SHA-256 that was given.');
        });
        await writeWholeFile(options.output, plaintext, onBytes, { durable: options.fast !== true });
      } finally {
        await hashing?.close();
      }
    }
    progress.stop();
    output.result(
      { path: options.output, bytes: totalBytes, sha256: sha256 ?? null, checked: expected !== undefined },
      [
        `Opened ${options.output}: ${formatBytes(totalBytes)}${sha256 === undefined ? '' : `, SHA-256 ${sha256}`}.`,
        ...(expected === undefined
          ? ['This format has no authentication: compare the hash with one that you know before you use the content.']
          : []),
      ],
    );
  } finally {
    progress.stop();
  }
}

/** Lets plaintext pass, and gives back the memory of what was written. @param check - Told the hash before the content counts as complete. */
async function* hashed(
  plaintext: AsyncIterable<Buffer>,
  hashing: HashBeside | undefined,
  check: (sha256: string) => void,
): AsyncGenerator<Buffer> {
  let beingWritten: Buffer | undefined;
  for await (const bytes of plaintext) {
    await hashing?.update(bytes);
    yield bytes;
    // Asked for the next but one: what came before these is in the file.
    if (beingWritten !== undefined) releaseBytes(beingWritten);
    beingWritten = bytes;
  }
  if (hashing !== undefined) check(await hashing.digest());
}

async function decipherAll(
  files: readonly SizedFile[],
  into: Pick<LegacyFilesToDecipher, 'aesKey' | 'descriptor' | 'totalBytes'>,
  onBytes: (bytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const handles: FileHandle[] = [];
  try {
    for (const { path } of files) handles.push(await open(path, 'r'));
    const ciphertexts = files.map(({ sizeBytes }, index) => ({ descriptor: handles[index]?.fd ?? -1, sizeBytes }));
    await decipherLegacyFiles({ ...into, files: ciphertexts }, onBytes, signal);
  } finally {
    await Promise.all(handles.map((handle) => handle.close()));
  }
}

async function keyOf(context: CommandContext, options: LegacyOpenOptions): Promise<Uint8Array> {
  const { keyFragment, email, passwordFile, fingerprint } = options;
  if (keyFragment !== undefined) return keyOfFragment(keyFragment);
  if (email === undefined) return legacyAesKey(LEGACY_RESOURCE_KEY);
  const password = await new SecretReader(context).read(PASSWORD, passwordFile);
  const hardware = fingerprint === undefined ? undefined : legacyHardwareHash(fingerprint);
  return legacyAesKey(legacyApiKey(email, password.reveal(), hardware));
}

async function keyOfFragment(path: string): Promise<Uint8Array> {
  if ((await sizeOf(path)) > MAX_KEY_FRAGMENT_BYTES) throw usageFailure(`${path} is too long for a key fragment.`);
  return legacyArchiveKey(await readFile(path));
}

async function sizeOf(path: string): Promise<number> {
  const file = await stat(path).catch(() => undefined);
  if (file?.isFile() !== true) throw usageFailure(`${path} is not a file that can be read.`, 'Check the path.');
  return file.size;
}

interface SizedFile {
  readonly path: string;
  readonly sizeBytes: number;
}

async function sizedFile(path: string): Promise<SizedFile> {
  return { path, sizeBytes: await sizeOf(path) };
}

/** Files one after another, wherever they were cut, as the two parts of a resource: an empty small one, and the rest. */
class LegacyFiles {
  readonly small: LegacySmallParts;
  readonly big: LegacyBigParts;

  constructor(files: readonly SizedFile[]) {
    this.small = new NoSmallPart();
    this.big = new FilesAsBigPart(files);
  }
}

class NoSmallPart extends LegacySmallParts {
  override read(): Promise<Uint8Array> {
    return Promise.resolve(new Uint8Array());
  }

  override write(): Promise<void> {
    return Promise.reject(new Error('Nothing is published from here.'));
  }
}

class FilesAsBigPart extends LegacyBigParts {
  constructor(private readonly files: readonly SizedFile[]) {
    super();
  }

  override find(): Promise<FoundBigPart> {
    return Promise.resolve({
      sizeBytes: this.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      state: '',
      open: (range) => Promise.resolve(Readable.from(this.read(range), { objectMode: true, highWaterMark: 1 })),
    });
  }

  /** Reads into memory that takes turns: one piece is being read, one waits, one is worked on. */
  private async *read({ start, end }: ByteRange): AsyncGenerator<Buffer> {
    const memory = Array.from({ length: READ_BUFFERS }, () =>
      Buffer.allocUnsafeSlow(Math.min(READ_BYTES, end - start)),
    );
    let at = 0;
    let turn = 0;
    for (const { path, sizeBytes } of this.files) {
      const [from, to] = [Math.max(start, at) - at, Math.min(end, at + sizeBytes) - at];
      at += sizeBytes;
      if (from >= to) continue;
      const file = await open(path, 'r');
      try {
        for (let position = from; position < to;) {
          const target = memory[turn++ % READ_BUFFERS] ?? Buffer.alloc(0);
          const { bytesRead } = await file.read(target, 0, Math.min(target.length, to - position), position);
          if (bytesRead === 0) return; // shorter than it was: the reader sees that something is missing
          position += bytesRead;
          yield target.subarray(0, bytesRead);
        }
      } finally {
        await file.close();
      }
    }
  }
}

/** SHA-256 on a thread of its own where the content is worth one, so that decrypting goes on beside it. */
class HashBeside {
  private readonly workers: ChunkWorkerPool | undefined;
  private readonly hash: RunningHash;
  private readonly slots: { readonly memory: Uint8Array; free: Promise<void> }[];
  private next = 0;

  constructor(totalBytes: number, signal: AbortSignal) {
    this.workers = totalBytes < THREAD_FROM_BYTES ? undefined : new ChunkWorkerPool({ threads: 1 });
    const sealer = this.workers?.sealer ?? new InlineChunkSealer();
    this.hash = sealer.hashing('sha256', signal);
    this.slots = Array.from({ length: HASH_SLOTS }, () => ({
      memory: sealer.allocate(Math.min(HASH_SLOT_BYTES, totalBytes)),
      free: Promise.resolve(),
    }));
  }

  /** Takes a copy; waits only when the thread is far behind. */
  async update(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += HASH_SLOT_BYTES) {
      const part = bytes.subarray(at, at + HASH_SLOT_BYTES);
      const slot = this.slots[this.next++ % HASH_SLOTS];
      if (slot === undefined) return;
      await slot.free;
      slot.memory.set(part);
      slot.free = this.hash.update(slot.memory.subarray(0, part.length));
      slot.free.catch(() => undefined); // whoever wants the slot, or the digest, hears of it
    }
  }

  async digest(): Promise<string> {
    return Buffer.from(await this.hash.digest()).toString('hex');
  }

  async close(): Promise<void> {
    await this.workers?.close();
  }
}
