import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { AzaionCommand } from '../demo/azaion-command.js';

/** What a cluster's secret is made from. */
export interface ClusterSecrets {
  /** Gets a file for each entry of the secret. */
  readonly directory: string;
  /** Where the root key is made and kept: not where the service looks. */
  readonly offline: string;
  readonly databaseUrl: string;
  /** Who signs at the object store, where there is one. */
  readonly objectStore?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  readonly password: string;
  readonly cli: AzaionCommand;
  /** Runs the command `statement-key` of the service, when every entry but its key document is there. @returns What it printed. */
  readonly statementKey: () => Promise<string>;
}

/** Makes the entries of the secret `azaion-admin-api` in the order of `docs/how-to/run-in-a-cluster.md`. */
export async function writeClusterSecrets(secrets: ClusterSecrets): Promise<void> {
  const { directory, offline, cli } = secrets;
  const write = (name: string, content: string | Buffer): Promise<void> =>
    writeFile(join(directory, name), content, { mode: 0o600 });
  const apart = (name: string): string => join(offline, name);
  await cli.run(['keys', 'root', 'create', '-o', apart('root.jwk'), '--no-passphrase']);
  await write('root.json', await readFile(apart('root.jwk.pub.json')));
  await write('kek', randomBytes(32).toString('base64url'));
  await write('database-url', secrets.databaseUrl);
  await write('database-migration-url', secrets.databaseUrl);
  if (secrets.objectStore !== undefined) {
    await write('s3-access-key-id', secrets.objectStore.accessKeyId);
    await write('s3-secret-access-key', secrets.objectStore.secretAccessKey);
  }
  await write('metrics-token', randomBytes(16).toString('hex'));
  await write('bootstrap-password', secrets.password);
  await writeFile(apart('key.json'), await secrets.statementKey());
  await cli.run(['keys', 'sign', '--root', apart('root.jwk'), '--add', apart('key.json'), '-o', apart('keys.jws')]);
  await write('keys.jws', await readFile(apart('keys.jws')));
}
