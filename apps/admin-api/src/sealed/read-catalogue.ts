import type { ResourceKind } from '@azaion/crypto';
import type { ResourceName } from '@azaion/kernel';
import { ResourceError } from '@azaion/split-resource';
import { type RawBuilder, sql } from 'kysely';

import type { Database } from '../persistence/database.js';
import type { Standing } from './current-standing.js';
import type { Folders } from './folders.js';

/** Most entries of one answer. */
export const MOST_RESOURCES = 10_000;
/** Of folders that are looked through for those that the caller may read. */
const NAMES_AT_ONCE = 10_000;

/** Which part of a list. */
export interface CataloguePage<Cursor = string> {
  /** At most {@link MOST_RESOURCES}. */
  readonly limit: number;
  /** The last entry of the page before. */
  readonly cursor?: Cursor | undefined;
}

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

/** A resource with one page of its versions. */
export interface ResourceEntry {
  /** Of the newest version that the caller may see. */
  readonly kind: ResourceKind;
  /** What requests without a version get instead of the newest; `null` for none. */
  readonly pinnedVersion: number | null;
  readonly versions: readonly VersionEntry[];
  /** Where there are more. */
  readonly cursor: number | undefined;
}

/** A version as its resource lists it. */
export interface VersionEntry {
  readonly version: number;
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

  /**
   * One page of the folders that the caller may read, in the order of their names.
   *
   * @param page - `cursor` is the last name of the page before.
   * @returns With a cursor where there are more.
   */
  async list(
    page: CataloguePage,
    standing: Standing,
  ): Promise<{ readonly folders: readonly FolderEntry[]; readonly cursor: string | undefined }> {
    const names: string[] = [];
    for (let { cursor } = page; names.length <= page.limit;) {
      const some = await this.folderNames(cursor);
      const readable = await this.folders.readable(some, standing);
      names.push(...some.filter((name) => readable.has(name)));
      if (some.length < NAMES_AT_ONCE) break;
      cursor = some.at(-1);
    }
    const listed = names.slice(0, page.limit);
    const folders = await this.folderEntries(listed, standing);
    return { folders, cursor: names.length > page.limit ? listed.at(-1) : undefined };
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
    page: CataloguePage,
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

  /**
   * A resource with one page of its versions, newest first.
   *
   * @param page - `cursor` is the last version of the page before.
   * @throws ResourceError `resource.not-found`; IdentityError `folder.forbidden`.
   */
  async versions(
    { folder, name }: ResourceName,
    page: CataloguePage<number>,
    standing: Standing,
  ): Promise<ResourceEntry> {
    await this.folders.assertMayRead(folder, standing);
    const visible = this.database.queries
      .selectFrom('versions')
      .innerJoin('resources', 'resources.id', 'versions.resource_id')
      .innerJoin('folders', 'folders.id', 'resources.folder_id')
      .where('folders.name', '=', folder)
      .where('resources.name', '=', name)
      .where(visibleTo(standing))
      .orderBy('versions.version', 'desc');
    const newest = await visible.select(['versions.kind', 'resources.pinned_version']).limit(1).executeTakeFirst();
    if (!newest) throw new ResourceError('resource.not-found', 'There is no such resource.');
    let selection = visible
      .leftJoin('users', 'users.id', 'versions.publisher_id')
      .select([
        'versions.version',
        'versions.total_bytes',
        'versions.recipe_bytes',
        'versions.scope',
        'versions.state',
        'versions.verification',
        'versions.committed_at',
        'versions.publisher_id',
        'users.email',
      ])
      .limit(page.limit + 1);
    if (page.cursor !== undefined)
      selection = selection.where('versions.version', '<', sql<number>`${page.cursor}::bigint`);
    const rows = await selection.execute();
    const versions = rows.slice(0, page.limit).map((row) => ({
      version: row.version,
      totalBytes: row.total_bytes,
      recipeBytes: row.recipe_bytes,
      publisher: row.email ?? row.publisher_id,
      scope: row.scope,
      state: row.state,
      verification: row.verification,
      committedAt: row.committed_at,
    }));
    return {
      kind: newest.kind,
      pinnedVersion: newest.pinned_version,
      versions,
      cursor: rows.length > page.limit ? versions.at(-1)?.version : undefined,
    };
  }

  /** Some names in their order, whether the caller may read the folders or not: as many at once as keep the number of questions small. */
  private async folderNames(cursor: string | undefined): Promise<readonly string[]> {
    let selection = this.database.queries.selectFrom('folders').select('name').orderBy('name').limit(NAMES_AT_ONCE);
    if (cursor !== undefined) selection = selection.where('name', '>', cursor);
    return (await selection.execute()).map(({ name }) => name);
  }

  private async folderEntries(names: readonly string[], standing: Standing): Promise<readonly FolderEntry[]> {
    const rows = await this.database.queries
      .selectFrom('folders')
      .select('folders.name')
      .select((from) =>
        from
          .selectFrom('resources')
          .whereRef('resources.folder_id', '=', 'folders.id')
          .where((resource) =>
            resource.exists(
              resource
                .selectFrom('versions')
                .whereRef('versions.resource_id', '=', 'resources.id')
                .where('versions.state', '=', 'live')
                .where(visibleTo(standing)),
            ),
          )
          .select(({ fn }) => fn.countAll<number>().as('count'))
          .as('resources'),
      )
      .where('folders.name', '=', sql<string>`any(${names})`)
      .orderBy('folders.name')
      .execute();
    return rows.map(({ name, resources }) => ({ name, resources: resources ?? 0 }));
  }
}

/** Versions of the fleet, the device's own, and for administrators all. */
export function visibleTo(standing: Standing): RawBuilder<boolean> {
  return standing.role === 'ApiAdmin'
    ? sql<boolean>`true`
    : sql<boolean>`versions.scope in ('fleet', ${`device:${standing.deviceSerial ?? ''}`})`;
}
