import { mkdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

import { FileObjectStore } from '@azaion/adapters/file-objects';
import { FileKeyVault } from '@azaion/adapters/key-file';
import { S3ObjectStore } from '@azaion/adapters/s3';
import { isPublicJwk, type KeyVault } from '@azaion/crypto';
import { type Clock, Secret, SystemClock } from '@azaion/kernel';
import type { ObjectStore } from '@azaion/split-resource';
import { Logger } from '@nestjs/common';

import { type AdminConfig, isProduction } from './config.js';
import type { OfflineRoot } from './keys/statement-authority.js';
import { type ConnectionSettings, Database } from './persistence/database.js';
import { EmbeddedPostgres } from './persistence/embedded-postgres.js';
import { Outages } from './persistence/outages.js';
import { SERVICE_ROLE } from './persistence/service-role.js';

/** What the application stands on, opened and ready. */
export interface Infrastructure {
  readonly database: Database;
  readonly vault: KeyVault;
  readonly objects: ObjectStore;
  readonly clock: Clock;
  /** `undefined` in development: then the API makes its root key by itself. */
  readonly offlineRoot: OfflineRoot | undefined;
  /** Connects as the owner of the tables, for one piece of work: an operator's command alone needs it. */
  asOwner<T>(work: (owner: Database) => Promise<T>): Promise<T>;
  /** Tells the file store where it is reached, once that is known. */
  reachedAt(url: string): void;
  close(): Promise<void>;
}

/** The file with the key-encryption keys. */
export function kekFileOf(config: AdminConfig): string {
  return config.kekFile ?? join(resolve(config.dataDir), 'keys', 'kek');
}

/**
 * Opens database, key vault and object store.
 *
 * @param besideService - For a command that may run beside the service: an embedded database that runs already stays running.
 * @throws Error with a sentence for the operator; nothing keeps running then.
 */
export async function openInfrastructure(
  config: AdminConfig,
  clock: Clock = new SystemClock(),
  besideService = false,
): Promise<Infrastructure> {
  const production = isProduction(config);
  const dataDir = resolve(config.dataDir);
  await mkdir(dataDir, { recursive: true });
  const vault = await FileKeyVault.open(kekFileOf(config), {
    createIfMissing: !production,
    ...(production ? { apartFrom: dataDir } : {}),
  });
  const offlineRoot = await readOfflineRoot(config);
  let publicUrl = config.publicUrl;
  const objects = await openObjectStore(config, vault, clock, () => publicUrl ?? '');
  const embedded = config.databaseUrl === undefined ? await EmbeddedPostgres.start(dataDir, besideService) : undefined;
  const logger = new Logger('Database');
  const connection = embedded?.connection ?? { connectionString: (config.databaseUrl ?? new Secret('')).reveal() };
  const owner = config.databaseMigrationUrl;
  const database = new Database(connection, {
    onLostConnection: (code) => logger.warn(`A connection was lost while idle (${code}).`),
    outages: new Outages(clock, {
      began: (reason) =>
        logger.warn(`The database cannot be used (${reason}): requests that need it get 503 until it can.`),
      ended: (durationMs) => logger.log(`The database can be used again after ${Math.ceil(durationMs / 1000)} s.`),
    }),
    role: SERVICE_ROLE,
    connections: config.databaseConnections,
  });
  const close = async (): Promise<void> => {
    await database.close();
    await embedded?.stop();
    if (objects instanceof S3ObjectStore) objects.close();
  };
  const asOwner = <T>(work: (owner: Database) => Promise<T>): Promise<T> =>
    connected(owner === undefined ? connection : { connectionString: owner.reveal() }, work);
  try {
    await asOwner((database) => database.migrate());
  } catch (error) {
    await close();
    throw error;
  }
  return {
    database,
    vault,
    objects,
    clock,
    offlineRoot,
    asOwner,
    reachedAt: (url) => {
      publicUrl ??= url;
    },
    close,
  };
}

async function connected<T>(settings: ConnectionSettings, work: (database: Database) => Promise<T>): Promise<T> {
  const database = new Database(settings);
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}

async function openObjectStore(
  config: AdminConfig,
  vault: KeyVault,
  clock: Clock,
  publicUrl: () => string,
): Promise<ObjectStore> {
  const { s3Bucket, s3AccessKeyId, s3SecretAccessKey } = config;
  if (s3Bucket !== undefined && s3AccessKeyId !== undefined && s3SecretAccessKey !== undefined)
    return new S3ObjectStore({
      endpoint: config.s3Endpoint,
      publicEndpoint: config.s3PublicEndpoint,
      region: config.s3Region,
      bucket: s3Bucket,
      accessKeyId: s3AccessKeyId.reveal(),
      secretAccessKey: s3SecretAccessKey,
    });
  return new FileObjectStore({
    directory: join(resolve(config.dataDir), 'objects'),
    publicUrl,
    macKey: await vault.macKey('url-signing'),
    clock,
  });
}

async function readOfflineRoot(config: AdminConfig): Promise<OfflineRoot | undefined> {
  if (config.rootKeyFile === undefined) return undefined;
  const jws =
    config.keyDocumentFile === undefined ? undefined : (await readFile(config.keyDocumentFile, 'utf8')).trim();
  const { kid, ...root } = JSON.parse(await readFile(config.rootKeyFile, 'utf8')) as Record<string, unknown>;
  if (typeof kid !== 'string' || !isPublicJwk(root))
    throw new Error('STATEMENT_ROOT_KEY_FILE must hold a public P-256 JWK with kty, crv, x, y and kid.');
  return { jws, root, rootKid: kid };
}
