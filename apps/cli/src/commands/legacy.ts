import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { addAbortSignal, pipeline, Readable } from 'node:stream';

import {
  LEGACY_RESOURCE_KEY,
  legacyAesKey,
  legacyApiKey,
  legacyArchiveKey,
  legacyDecrypt,
  legacyHardwareHash,
} from '@azaion/crypto';

import { usageFailure } from '../cli-failure.js';
import { type CommandContext } from '../command-context.js';
import { failure } from '../failure-table.js';
import { formatBytes } from '../format.js';
import { readPassword } from '../password.js';
import { writeWholeFile } from '../whole-file.js';

const READ_BYTES = 1024 * 1024;
const MAX_KEY_FRAGMENT_BYTES = 1024 * 1024;

/** Options of `azaion legacy open-archive`. */
export interface LegacyArchiveOptions {
  readonly output: string;
  readonly keyFragment: string;
  /** Hex; what the content must have. */
  readonly sha256?: string;
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
  options: Pick<LegacyArchiveOptions, 'output' | 'sha256'>,
  key: Uint8Array,
): Promise<void> {
  const expected = options.sha256?.toLowerCase();
  if (expected !== undefined && !/^[0-9a-f]{64}$/.test(expected))
    throw usageFailure('--sha256 takes 64 hexadecimal digits.');
  const totalBytes = (await Promise.all(parts.map(sizeOf))).reduce((sum, bytes) => sum + bytes, 0);
  const decrypting = legacyDecrypt(key);
  pipeline(addAbortSignal(signal, Readable.from(joined(parts), { objectMode: false })), decrypting, () => undefined);
  const hashing = createHash('sha256');
  const checked = async function* (): AsyncGenerator<Buffer> {
    for await (const bytes of decrypting as AsyncIterable<Buffer>) {
      hashing.update(bytes);
      yield bytes;
    }
    sha256 = hashing.digest('hex');
    if (expected !== undefined && sha256 !== expected)
      throw failure('integrity', 'legacy.invalid', 'The content does not have the SHA-256 that was given.');
  };
  let sha256 = '';
  const progress = output.progress('open', totalBytes);
  try {
    const bytes = await writeWholeFile(options.output, checked(), (written) => progress.update(written, totalBytes));
    progress.stop();
    output.result({ path: options.output, bytes, sha256, checked: expected !== undefined }, [
      `Opened ${options.output}: ${formatBytes(bytes)}, SHA-256 ${sha256}.`,
      ...(expected === undefined
        ? ['This format has no authentication: compare the hash with one that you know before you use the content.']
        : []),
    ]);
  } finally {
    progress.stop();
  }
}

async function keyOf(context: CommandContext, options: LegacyOpenOptions): Promise<Uint8Array> {
  const { keyFragment, email, passwordFile, fingerprint } = options;
  if (keyFragment !== undefined) return keyOfFragment(keyFragment);
  if (email === undefined) return legacyAesKey(LEGACY_RESOURCE_KEY);
  const password = await readPassword({
    file: passwordFile ?? context.env['AZAION_PASSWORD_FILE'],
    variable: context.env['AZAION_PASSWORD'],
    input: context.input,
    prompt: context.prompt,
  });
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

async function* joined(paths: readonly string[]): AsyncGenerator<Buffer> {
  for (const path of paths) yield* createReadStream(path, { highWaterMark: READ_BYTES }) as AsyncIterable<Buffer>;
}
