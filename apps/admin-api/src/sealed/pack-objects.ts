import { type PackId, packObjectKey, type PackObject } from '@azaion/split-resource';
import type { Selectable } from 'kysely';

import type { Database } from '../persistence/database.js';
import type { PacksTable } from '../persistence/schema.js';

/** What says where a pack's bytes lie. */
export type StoredPack = Pick<Selectable<PacksTable>, 'id' | 'folder_id' | 'object_id' | 'extents'>;

/** Where a pack's bytes lie: an object of its own name until it is compacted. */
export function packObject({ id, folder_id: folderId, object_id: objectId, extents }: StoredPack): PackObject {
  return { key: packObjectKey(folderId, objectId ?? id), extents: extents ?? undefined };
}

/** Where a pack's bytes lie now; an object stays for two days after another has taken its place. */
export async function locatePack(database: Database, folderId: string, packId: PackId): Promise<PackObject> {
  const row = await database.queries
    .selectFrom('packs')
    .select(['id', 'folder_id', 'object_id', 'extents'])
    .where('id', '=', packId)
    .executeTakeFirst();
  return packObject(row ?? { id: packId, folder_id: folderId, object_id: null, extents: null });
}
