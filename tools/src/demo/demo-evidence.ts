import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';

import { FileKeyVault } from '@azaion/adapters/key-file';
import { type SegmentKind } from '@azaion/crypto';
import { packObjectKey } from '@azaion/split-resource';
import { type Client } from 'pg';

import { type KnownPlaintext, type SplitEvidence } from '../adversary/prove-split.js';
import { type OpenedVersion, openWithEverything } from '../adversary/sealed-control.js';
import { type StoredBytes } from '../adversary/stored-bytes.js';
import { dumpDatabase } from './demo-database.js';

interface VersionRow {
  readonly resource_id: string;
  readonly folder_id: string;
  readonly version: number;
  readonly root_hash: string;
  readonly wrapped_recipe_key: Buffer;
  readonly statement: string;
  /** `folder/name`. */
  readonly resource: string;
}

/** A plaintext that was published in this run. */
export interface PublishedPlaintext extends KnownPlaintext {
  readonly folder: string;
  readonly resource: string;
  readonly version: number;
}

/** Where the stores lie. */
export interface DemoStores {
  readonly client: Client;
  /** Root of the file store that stands for the CDN. */
  readonly objects: string;
  /** The file with the KEK. */
  readonly kek: string;
}

/** Reads both stores, and opens the versions of the known plaintexts with the KEK for the controls. */
export async function gatherEvidence(
  stores: DemoStores,
  plaintexts: readonly PublishedPlaintext[],
): Promise<SplitEvidence> {
  const { client, objects, kek } = stores;
  const vault = await FileKeyVault.open(kek, { createIfMissing: false });
  const { rows: versions } = await client.query<VersionRow>(
    `select v.resource_id, r.folder_id, v.version, v.root_hash, v.wrapped_recipe_key, v.statement, f.name || '/' || r.name as resource
     from versions v join resources r on r.id = v.resource_id join folders f on f.id = r.folder_id`,
  );
  const opened: OpenedVersion[] = [];
  const published = new Set(plaintexts.map(({ folder, resource, version }) => `${folder}/${resource}/${version}`));
  for (const row of versions) {
    if (!published.has(`${row.resource}/${row.version}`)) continue;
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
        (packId) => readFile(join(objects, packObjectKey(row.folder_id, packId))),
      ),
    );
  }
  return {
    plaintexts,
    objects: () => readObjects(objects),
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

async function* readObjects(root: string): AsyncGenerator<StoredBytes> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    yield { where: relative(root, path), bytes: await readFile(path) };
  }
}
