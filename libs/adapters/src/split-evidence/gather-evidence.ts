import { type SegmentKind } from '@azaion/crypto';
import { packObjectKey } from '@azaion/split-resource';
import {
  type KnownPlaintext,
  type OpenedVersion,
  openWithEverything,
  type SplitEvidence,
} from '@azaion/split-resource/adversary';
import { type Client } from 'pg';

import { FileKeyVault } from '../key-file/index.js';
import { dumpDatabase } from './database-dump.js';
import { type StoredObjects } from './stored-objects.js';

interface VersionRow {
  readonly resource_id: string;
  readonly folder_id: string;
  readonly version: number;
  readonly root_hash: string;
  readonly wrapped_recipe_key: Buffer;
  readonly statement: string;
  /** `bigint`: a text. */
  readonly total_bytes: string;
  /** `folder/name`. */
  readonly resource: string;
}

/** A plaintext that was published, known to the harness. */
export interface PublishedPlaintext extends KnownPlaintext {
  readonly folder: string;
  readonly resource: string;
  readonly version: number;
}

/** Where the stores lie. */
export interface SplitStores {
  readonly client: Client;
  /** What stands for the CDN. */
  readonly objects: StoredObjects;
  /** The file with the KEK. */
  readonly kek: string;
}

/**
 * Reads both stores, and opens versions with the KEK for the controls.
 *
 * @param plaintexts - What was published, from elsewhere; or which versions to open and take the plaintext from.
 */
export async function gatherEvidence(
  stores: SplitStores,
  plaintexts: readonly PublishedPlaintext[] | ((resource: string, version: number, totalBytes: number) => boolean),
): Promise<SplitEvidence> {
  const { client, objects, kek } = stores;
  const vault = await FileKeyVault.open(kek, { createIfMissing: false });
  const { rows: versions } = await client.query<VersionRow>(
    `select v.resource_id, r.folder_id, v.version, v.root_hash, v.wrapped_recipe_key, v.statement, v.total_bytes, f.name || '/' || r.name as resource
     from versions v join resources r on r.id = v.resource_id join folders f on f.id = r.folder_id`,
  );
  const opened: OpenedVersion[] = [];
  const chooses = typeof plaintexts === 'function' ? plaintexts : undefined;
  const published = new Set(
    (typeof plaintexts === 'function' ? [] : plaintexts).map(
      ({ folder, resource, version }) => `${folder}/${resource}/${version}`,
    ),
  );
  for (const row of versions) {
    const isWanted =
      chooses?.(row.resource, row.version, Number(row.total_bytes)) ?? published.has(`${row.resource}/${row.version}`);
    if (!isWanted) continue;
    const segments = await readSegments(client, row);
    const segment = (kind: SegmentKind, index: number): Uint8Array => {
      const sealed = segments.get(`${kind}/${index}`);
      if (sealed === undefined) throw new RangeError(`the database lacks segment ${kind} ${index}`);
      return sealed;
    };
    const recipeKey = await vault.unwrap('recipe', `${row.resource_id}/${row.version}`, row.wrapped_recipe_key);
    opened.push(
      await openWithEverything(
        {
          place: { folderId: row.folder_id, resourceId: row.resource_id, version: row.version },
          rootHash: row.root_hash,
          recipeKey,
          segment,
        },
        (packId) => objects.read(packObjectKey(row.folder_id, packId)),
      ),
    );
  }
  return {
    plaintexts: typeof plaintexts === 'function' ? opened.map(({ plaintext: bytes }) => ({ bytes })) : plaintexts,
    objects: () => objects.all(),
    rows: await dumpDatabase(client),
    publicTexts: versions.map(({ statement }) => Buffer.from(statement.split('.')[1] ?? '', 'base64url')),
    opened,
  };
}

async function readSegments(client: Client, row: VersionRow): Promise<ReadonlyMap<string, Buffer>> {
  const { rows } = await client.query<{ kind: string; index: number; sealed: Buffer }>(
    'select kind, index, sealed from version_segments where resource_id = $1 and version = $2',
    [row.resource_id, row.version],
  );
  return new Map(rows.map(({ kind, index, sealed }) => [`${kind}/${index}`, sealed]));
}
