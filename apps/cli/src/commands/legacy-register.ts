import { NAME_PATTERN } from '@azaion/kernel';

import { AdminApi } from '../admin-api.js';
import { usageFailure } from '../cli-failure.js';
import type { CommandContext } from '../command-context.js';
import { failure } from '../failure-table.js';
import { forShell } from '../format.js';
import { wholeBody } from '../http.js';
import { assertFree, writeNewFile } from '../new-file.js';

/** Loaders take no longer one. */
const MAX_FRAGMENT_BYTES = 64 * 1024;
const SECRET_MODE = 0o600;

/** Options of `azaion legacy register`. */
export interface LegacyRegisterOptions {
  readonly api?: string;
  readonly output: string;
}

/**
 * Registers an image archive of the older format, and writes the key fragment to encrypt it with into a new file. Whoever has registered an archive,
 * or an administrator, gets the same fragment again. Source: docs/formats/legacy.md.
 */
export async function registerLegacyArchive(
  context: CommandContext,
  name: string,
  { api, output: path }: LegacyRegisterOptions,
): Promise<void> {
  if (!NAME_PATTERN.test(name))
    throw usageFailure(`"${name}" is not the name of an archive.`, 'Names have letters, digits, ".", "_" and "-".');
  await assertFree(path); // before there is a secret without a place
  const { routes } = await AdminApi.open(context, api);
  const { response } = await routes.PUT('/binary-split/archives/{name}', {
    params: { path: { name } },
    headers: { accept: 'application/octet-stream' },
    parseAs: 'stream',
  });
  const fragment = await fragmentOf(response, context.signal);
  await writeNewFile(path, fragment, SECRET_MODE);
  const created = response.status === 201;
  context.output.result({ archive: name, path, bytes: fragment.length, created }, [
    `${path} holds the key fragment of ${name}${created ? ', made now' : ', the one that it has'}.`,
    'Whoever has it opens the archive: keep it off the devices, which get it from the Admin API when they unlock.',
    `Encrypt the archive with it: a random IV of 16 bytes, then AES-256-CBC under the SHA-256 of ${path}.`,
    `Check what came out: azaion legacy open-archive ARCHIVE --key-fragment ${forShell(path)} -o COPY`,
  ]);
}

/** The bytes of an answer. Another server's page must not become a key: the media type is looked at. */
async function fragmentOf(response: Response, signal: AbortSignal): Promise<Buffer> {
  const unexpected = (): Error => failure('service.unexpected', 'The Admin API answered outside its contract.');
  const [type] = (response.headers.get('content-type') ?? '').split(';');
  if (type?.trim().toLowerCase() !== 'application/octet-stream') {
    await response.body?.cancel();
    throw unexpected();
  }
  const parts: Uint8Array[] = [];
  let seenBytes = 0;
  for await (const part of wholeBody(response, signal)) {
    seenBytes += part.length;
    if (seenBytes > MAX_FRAGMENT_BYTES) throw unexpected();
    parts.push(part);
  }
  if (seenBytes === 0) throw unexpected();
  return Buffer.concat(parts);
}
