import { type ResourceKind } from '@azaion/crypto';
import { type ResourceName } from '@azaion/kernel';
import { ResourceError } from '@azaion/split-resource';
import { type RawBuilder, sql } from 'kysely';

import { type Database } from '../persistence/database.js';
import { type Standing } from './current-standing.js';
import { type Folders } from './folders.js';

/** Most entries of one answer. */
export const MOST_RESOURCES = 10_000;

/** A resource as a folder lists it. */
export interface CatalogueEntry {
  readonly name: string;
  readonly kind: ResourceKind;
  readonly latestVersion: number;
  readonly totalBytes: number;
  readonly verification: Verification;
  readonly updatedAt: Date;
}

/** A folder that the caller may read. */
export interface FolderEntry {
  readonly name: string;
  /** Resources with at least one version that the caller may see. */
  readonly resources: number;
}

/** How far the verifier is with a version. */
export type Verification = 'pending' | 'verified' | 'bad';

/** The versions of a resource. */
export interface ResourceEntry {
  /** What requests without a version get instead of the newest; `null` for none. */
  readonly pinnedVersion: number | null;
  readonly versions: readonly VersionEntry[];
}

/** A version as its resource lists it. */
export interface VersionEntry {
  readonly version: number;
  readonly kind: ResourceKind;
  readonly totalBytes: number;
  readonly recipeBytes: number;
  readonly publisher: string;
  readonly scope: string;
  readonly state: 'live' | 'withdrawn';
  readonly verification: Verification;
  readonly committedAt: Date;
}

/** What folders hold, as far as the caller may see it. */
export class ReadCatalogue {
  constructor(
    private readonly database: Database,
    private readonly folders: Folders,
  ) {}

  /** The folders that the caller may read, by name. */
  async list(standing: Standing): Promise<readonly FolderEntry[]> {
    const rows = await this.database.queries
      .selectFrom('folders')
      .leftJoin('resources', 'resources.folder_id', 'folders.id')
      .leftJoin('versions', (join) =>
        join
          .onRef('versions.resource_id', '=', 'resources.id')
          .on('versions.state', '=', 'live')
          .on(visibleTo(standing)),
      )
      .select(['folders.name', (select) => select.fn.count<number>('versions.resource_id').distinct().as('resources')])
      .groupBy('folders.name')
      .orderBy('folders.name')
      .limit(MOST_RESOURCES)
      .execute();
    const readable: FolderEntry[] = [];
    for (const row of rows) if (await this.folders.mayRead(row.name, standing)) readable.push(row);
    return readable;
  }

  /**
   * One page of the resources of a folder with their newest version, in the order of their names. A folder that does not exist is empty.
   *
   * @param page - `cursor` is the last name of the page before.
   * @returns With a cursor where there are more.
   * @throws IdentityError `folder.forbidden`.
   */
  async resources(
    folder: string,
    page: { readonly limit: number; readonly cursor?: string | undefined },
    standing: Standing,
  ): Promise<{ readonly resources: readonly CatalogueEntry[]; readonly cursor: string | undefined }> {
    await this.folders.assertMayRead(folder, standing);
    let selection = this.database.queries
      .selectFrom('versions')
      .innerJoin('resources', 'resources.id', 'versions.resource_id')
      .innerJoin('folders', 'folders.id', 'resources.folder_id')
      .select(['resources.name', 'versions.kind', 'versions.version', 'versions.total_bytes'])
      .select(['versions.verification', 'versions.committed_at'])
      .distinctOn('resources.name')
      .where('folders.name', '=', folder)
      .where('versions.state', '=', 'live')
      .where(visibleTo(standing))
      .orderBy('resources.name')
      .orderBy('versions.version', 'desc')
      .limit(page.limit + 1);
    if (page.cursor !== undefined) selection = selection.where('resources.name', '>', page.cursor);
    const rows = await selection.execute();
    const resources = rows.slice(0, page.limit).map((row) => ({
      name: row.name,
      kind: row.kind,
      latestVersion: row.version,
      totalBytes: row.total_bytes,
      verification: row.verification,
      updatedAt: row.committed_at,
    }));
    return { resources, cursor: rows.length > page.limit ? resources.at(-1)?.name : undefined };
  }

  /** The versions of a resource, newest first. @throws ResourceError `resource.not-found`; IdentityError `folder.forbidden`. */
  async versions({ folder, name }: ResourceName, standing: Standing): Promise<ResourceEntry> {
    await this.folders.assertMayRead(folder, standing);
    const rows = await this.database.queries
      .selectFrom('versions')
      .innerJoin('resources', 'resources.id', 'versions.resource_id')
      .innerJoin('folders', 'folders.id', 'resources.folder_id')
      .leftJoin('users', 'users.id', 'versions.publisher_id')
      .select([
        'versions.version',
        'versions.kind',
        'versions.total_bytes',
        'versions.recipe_bytes',
        'versions.scope',
        'versions.state',
        'versions.verification',
        'versions.committed_at',
        'versions.publisher_id',
        'users.email',
        'resources.pinned_version',
      ])
      .where('folders.name', '=', folder)
      .where('resources.name', '=', name)
      .where(visibleTo(standing))
      .orderBy('versions.version', 'desc')
      .limit(MOST_RESOURCES)
      .execute();
    if (rows.length === 0) throw new ResourceError('resource.not-found', 'There is no such resource.');
    const versions = rows.map((row) => ({
      version: row.version,
      kind: row.kind,
      totalBytes: row.total_bytes,
      recipeBytes: row.recipe_bytes,
      publisher: row.email ?? row.publisher_id,
      scope: row.scope,
      state: row.state,
      verification: row.verification,
      committedAt: row.committed_at,
    }));
    return { pinnedVersion: rows[0]?.pinned_version ?? null, versions };
  }
}

/** Versions of the fleet, the device's own, and for administrators all. */
export function visibleTo(standing: Standing): RawBuilder<boolean> {
  return standing.role === 'ApiAdmin'
    ? sql<boolean>`true`
    : sql<boolean>`versions.scope in ('fleet', ${`device:${standing.deviceSerial ?? ''}`})`;
}
