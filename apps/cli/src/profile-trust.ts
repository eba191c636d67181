import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { type ApiClient, HttpWellKnown } from '@azaion/adapters/resource-api';
import { FileStatementTrust, parseRootKey, type RootKey } from '@azaion/adapters/trust-store';
import type { StatementKeys } from '@azaion/crypto';
import { SystemClock } from '@azaion/kernel';
import { ResourceError, type StatementTrust } from '@azaion/split-resource';

import type { CliFailure } from './cli-failure.js';
import type { CommandContext } from './command-context.js';
import { failure } from './failure-table.js';

/**
 * The statement keys a person trusts, kept beside the profile and apart for each Admin API. The root is the one in
 * `STATEMENT_ROOT_KEY_FILE`; without it the first one seen is pinned and that is said, except where `NODE_ENV` is `production`.
 */
export async function profileTrust(context: CommandContext, api: string, client: ApiClient): Promise<StatementTrust> {
  const { env, output } = context;
  const rootFile = env['STATEMENT_ROOT_KEY_FILE'];
  const root = rootFile === undefined ? undefined : await readRoot(rootFile);
  const trustOnFirstUse = env['NODE_ENV'] !== 'production';
  if (root === undefined && !trustOnFirstUse) throw noRoot();
  return FileStatementTrust.open({
    dataDirectory: trustDirectory(context, api),
    root,
    trustOnFirstUse,
    documents: new HttpWellKnown(client),
    clock: new SystemClock(),
    warn: (message) => output.note(message),
  });
}

/**
 * Verifies key documents that came with a bundle, by the root that a person trusts, with no network. Where none is configured it is the one that
 * was pinned at the Admin API of the last login.
 *
 * @returns Throws CryptoError `key-document.*`; CliFailure exit `integrity` where no root is known.
 */
export async function pinnedKeys(context: CommandContext): Promise<(document: string) => Promise<StatementKeys>> {
  const { env, output, profile } = context;
  const rootFile = env['STATEMENT_ROOT_KEY_FILE'];
  const { api } = await profile.read();
  if (rootFile === undefined && api === undefined) throw noRoot();
  const unreachable = (): Promise<never> =>
    Promise.reject(new ResourceError('api.unreachable', 'Bundles are read without a network.'));
  const trust = await FileStatementTrust.open({
    dataDirectory: trustDirectory(context, api ?? 'bundles'),
    root: rootFile === undefined ? undefined : await readRoot(rootFile),
    trustOnFirstUse: true,
    documents: { statementKeys: unreachable, statementRoot: unreachable },
    clock: new SystemClock(),
    warn: (message) => output.note(message),
  });
  return async (document) => {
    if (!trust.knowsRoot) throw noRoot();
    return trust.adopt(document);
  };
}

function noRoot(): CliFailure {
  return failure('trust.no-root', 'It is not known whose signatures to trust.');
}

function trustDirectory({ profile }: CommandContext, api: string): string {
  return join(profile.directory, 'trust', createHash('sha256').update(api).digest('hex').slice(0, 16));
}

async function readRoot(path: string): Promise<RootKey> {
  try {
    return await parseRootKey(await readFile(path, 'utf8'));
  } catch (cause) {
    throw failure('trust.root-invalid', 'STATEMENT_ROOT_KEY_FILE does not hold a public key.', { cause });
  }
}
