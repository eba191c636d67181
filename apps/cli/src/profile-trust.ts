import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { type ApiClient, HttpWellKnown } from '@azaion/adapters/resource-api';
import { FileStatementTrust, parseRootKey, type RootKey } from '@azaion/adapters/trust-store';
import { SystemClock } from '@azaion/kernel';
import { type StatementTrust } from '@azaion/split-resource';

import { type CommandContext } from './command-context.js';
import { failure } from './failure-table.js';

/**
 * The statement keys a person trusts, kept beside the profile and apart for each Admin API. The root is the one in
 * `STATEMENT_ROOT_KEY_FILE`; without it the first one seen is pinned and that is said, except where `NODE_ENV` is `production`.
 */
export async function profileTrust(context: CommandContext, api: string, client: ApiClient): Promise<StatementTrust> {
  const { env, output, profile } = context;
  const rootFile = env['STATEMENT_ROOT_KEY_FILE'];
  const root = rootFile === undefined ? undefined : await readRoot(rootFile);
  const trustOnFirstUse = env['NODE_ENV'] !== 'production';
  if (root === undefined && !trustOnFirstUse)
    throw failure(
      'integrity',
      'trust.no-root',
      'It is not known whose signatures to trust.',
      'Set STATEMENT_ROOT_KEY_FILE to the public root key that your operator gave you.',
    );
  const apart = createHash('sha256').update(api).digest('hex').slice(0, 16);
  return FileStatementTrust.open({
    dataDirectory: join(profile.directory, 'trust', apart),
    root,
    trustOnFirstUse,
    documents: new HttpWellKnown(client),
    clock: new SystemClock(),
    warn: (message) => output.note(message),
  });
}

async function readRoot(path: string): Promise<RootKey> {
  try {
    return await parseRootKey(await readFile(path, 'utf8'));
  } catch (cause) {
    throw failure(
      'usage',
      'trust.root-invalid',
      'STATEMENT_ROOT_KEY_FILE does not hold a public key.',
      'It must be a file with a JSON Web Key on P-256: kty, crv, x, y and kid.',
      cause,
    );
  }
}
