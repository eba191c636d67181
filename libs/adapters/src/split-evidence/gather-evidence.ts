import { readFile } from 'node:fs/promises';

import { type KeyPurpose, type KeyVault, type SegmentKind, type Statement, WRAP_PREFIX_BYTES } from '@azaion/crypto';
import { fromBase64Url, toHex } from '@azaion/kernel';
import { bytesInPack, type PackExtents, type PackId, packObjectKey } from '@azaion/split-resource';
import {
  type KnownPlaintext,
  type OpenedVersion,
  openWithEverything,
  type SplitEvidence,
  type StoredBytes,
  type WrappedSecret,
} from '@azaion/split-resource/adversary';
import type { Client } from 'pg';

import { FileKeyVault } from '../key-file/index.js';
import { dumpDatabase } from './database-dump.js';
import type { StoredObjects } from './stored-objects.js';

interface VersionRow {
  readonly resource_id: string;
  readonly folder_id: string;
  readonly version: number;
  readonly state: 'live' | 'withdrawn';
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
  // One state of the database: its Admin API goes on.
  await stores.client.query('begin isolation level repeatable read read only');
  try {
    return await gather(stores, plaintexts);
  } finally {
    await stores.client.query('rollback');
  }
}

async function gather(
  { client, objects, kek }: SplitStores,
  plaintexts: Parameters<typeof gatherEvidence>[1],
): Promise<SplitEvidence> {
  const vault = await FileKeyVault.open(kek, { createIfMissing: false });
  const { rows: versions } = await client.query<VersionRow>(
    `select v.resource_id, r.folder_id, v.version, v.state, v.root_hash, v.wrapped_recipe_key, v.statement, v.total_bytes, f.name || '/' || r.name as resource
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
    if (!isWanted || row.state !== 'live') continue; // what ended may be gone from the CDN
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
        (packId) => readWholePack(client, objects, row.folder_id, packId),
      ),
    );
  }
  const rows = await dumpDatabase(client);
  const wrapped = await readWrapped(client, vault);
  await assertAllKnown(rows, wrapped, vault);
  return {
    plaintexts: typeof plaintexts === 'function' ? opened.map(({ plaintext: bytes }) => ({ bytes })) : plaintexts,
    objects: () => objects.all(),
    rows,
    publicMetadata: [
      ...versions.map(({ resource, version, statement }) => ({
        where: `statement of ${resource} version ${version}`,
        bytes: Buffer.from(statement),
      })),
      ...(await readKeyDocuments(client)),
    ],
    publicTexts: versions.flatMap(({ statement }) => publicNames(statement)),
    opened,
    wrapped,
    keks: await readKeks(kek),
  };
}

/** A pack as it was published, with zeros where compaction has left something out. */
async function readWholePack(
  client: Client,
  objects: StoredObjects,
  folderId: string,
  packId: PackId,
): Promise<Buffer> {
  const { rows } = await client.query<{ size_bytes: number; object_id: string | null; extents: PackExtents | null }>(
    'select size_bytes, object_id, extents from packs where id = $1',
    [packId],
  );
  const [row] = rows;
  const bytes = await objects.read(packObjectKey(folderId, row?.object_id ?? packId));
  return bytesInPack(row?.extents ?? undefined, { start: 0, end: row?.size_bytes ?? bytes.length }, bytes);
}

/** Every column of wrapped secrets, as `where`, `purpose`, the row id of its associated data, and the value. */
const WRAPPED_SECRETS = `
  select 'signing_keys ' || kid as place, case purpose when 'root' then 'statement-root' else purpose || '-signing' end as purpose, kid as row_id,
    wrapped_private as wrapped from signing_keys
  union all select 'service_secrets ' || name, 'service', name, wrapped from service_secrets
  union all select 'device_challenges ' || encode(nonce_hash, 'hex'), 'service', encode(nonce_hash, 'hex'), wrapped_ephemeral from device_challenges
  union all select 'folders ' || id, 'folder', id || '/devices', wrapped_device_root from folders
  union all select 'dedup_domains ' || folder_id || ' ' || number, 'folder', folder_id || '/' || number, wrapped_key from dedup_domains
    where wrapped_key is not null
  union all select 'versions ' || resource_id || ' ' || version, 'recipe', resource_id || '/' || version, wrapped_recipe_key from versions
  union all select 'legacy_contents ' || id, 'service', id::text, wrapped_key from legacy_contents
  union all select 'key_fragments ' || archive, 'key-fragment', archive, wrapped from key_fragments`;

async function readWrapped(client: Client, vault: KeyVault): Promise<WrappedSecret[]> {
  const { rows } = await client.query<{ place: string; purpose: KeyPurpose; row_id: string; wrapped: Buffer }>(
    WRAPPED_SECRETS,
  );
  const secrets: WrappedSecret[] = [];
  for (const { place, purpose, row_id: rowId, wrapped } of rows)
    secrets.push({ where: place, purpose, wrapped, secret: await vault.unwrap(purpose, rowId, wrapped) });
  return secrets;
}

/** Wrapped values begin with the name of their key: none of them may be missing among those that candidates are tried on. */
async function assertAllKnown(
  rows: readonly StoredBytes[],
  wrapped: readonly WrappedSecret[],
  vault: KeyVault,
): Promise<void> {
  const prefixes = (await vault.prefixes()).map(toHex);
  const known = new Set(wrapped.map((secret) => toHex(secret.wrapped)));
  for (const { where, bytes } of rows)
    if (prefixes.includes(toHex(bytes.subarray(0, WRAP_PREFIX_BYTES))) && !known.has(toHex(bytes)))
      throw new Error(`${where} holds a wrapped secret that this proof knows nothing of`);
}

async function readKeks(path: string): Promise<Uint8Array[]> {
  const lines = (await readFile(path, 'utf8')).trimEnd().split('\n');
  return lines.flatMap((line) => fromBase64Url(line, 32) ?? []);
}

async function readKeyDocuments(client: Client): Promise<StoredBytes[]> {
  const { rows } = await client.query<{ version: number; jws: string }>('select version, jws from key_documents');
  return rows.map(({ version, jws }) => ({ where: `key document ${version}`, bytes: Buffer.from(jws) }));
}

/** What a statement rightly says that the published content may say, too: an image archive names its images and their digests. */
function publicNames(statement: string): Buffer[] {
  const { folder, resource, images } = JSON.parse(
    Buffer.from(statement.split('.')[1] ?? '', 'base64url').toString(),
  ) as Statement;
  const names = (images ?? []).flatMap(({ reference, configDigest, manifestDigest }) => [
    reference,
    configDigest,
    ...(manifestDigest === null ? [] : [manifestDigest]),
  ]);
  return [folder, resource, ...names].map((name) => Buffer.from(name));
}

async function readSegments(client: Client, row: VersionRow): Promise<ReadonlyMap<string, Buffer>> {
  const { rows } = await client.query<{ kind: string; index: number; sealed: Buffer }>(
    'select kind, index, sealed from version_segments where resource_id = $1 and version = $2',
    [row.resource_id, row.version],
  );
  return new Map(rows.map(({ kind, index, sealed }) => [`${kind}/${index}`, sealed]));
}
