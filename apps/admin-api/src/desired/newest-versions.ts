import type { ResourceKind } from '@azaion/crypto';
import { type ResourceName, resourcePath } from '@azaion/kernel';
import { type Expression, expressionBuilder, sql, type SqlBool } from 'kysely';

import type { Queries } from '../persistence/database.js';
import type { Schema } from '../persistence/schema.js';
import type { DesiredResource } from './desired-state.js';

/** A version that a device could be granted. */
export interface AvailableVersion extends ResourceName {
  readonly version: number;
  readonly kind: ResourceKind;
}

/**
 * The versions of resources that a device is granted when it names none: what an administrator has pinned, else the newest of the fleet's and
 * its own.
 *
 * @param serial - `undefined` for what every device may have.
 * @returns By `folder/name`; what has no such version is missing.
 */
export async function newestVersions(
  on: Queries,
  names: readonly ResourceName[],
  serial: string | undefined,
): Promise<ReadonlyMap<string, AvailableVersion>> {
  if (names.length === 0) return new Map();
  const rows = await available(on, serial)
    .distinctOn(['folders.name', 'resources.name'])
    .where((eb) =>
      eb(
        eb.refTuple('folders.name', 'resources.name'),
        'in',
        names.map(({ folder, name }) => eb.tuple(folder, name)),
      ),
    )
    .orderBy('folders.name')
    .orderBy('resources.name')
    .orderBy(sql`versions.version is not distinct from resources.pinned_version`, 'desc')
    .orderBy('versions.version', 'desc')
    .execute();
  return new Map(rows.map((row) => [resourcePath(row), row]));
}

/** Those of the named versions that may not be granted to a device, in the order given. */
export async function unavailableVersions(
  on: Queries,
  wanted: readonly DesiredResource[],
  serial: string | undefined,
): Promise<readonly DesiredResource[]> {
  const newest = await newestVersions(on, wanted, serial);
  const numbered = wanted.filter(({ version }) => version !== 'latest');
  const found = numbered.length === 0 ? [] : await available(on, serial).where(anyOf(numbered)).execute();
  const numbers = new Set(found.map((row) => `${resourcePath(row)}@${row.version}`));
  return wanted.filter((each) =>
    each.version === 'latest' ? !newest.has(resourcePath(each)) : !numbers.has(`${resourcePath(each)}@${each.version}`),
  );
}

function available(on: Queries, serial: string | undefined) {
  return on
    .selectFrom('versions')
    .innerJoin('resources', 'resources.id', 'versions.resource_id')
    .innerJoin('folders', 'folders.id', 'resources.folder_id')
    .select(['folders.name as folder', 'resources.name', 'versions.version', 'versions.kind'])
    .where('versions.state', '=', 'live')
    .where('versions.scope', 'in', serial === undefined ? ['fleet'] : ['fleet', `device:${serial}`]);
}

function anyOf(wanted: readonly DesiredResource[]): Expression<SqlBool> {
  const eb = expressionBuilder<Schema, 'folders' | 'resources' | 'versions'>();
  return eb(
    eb.refTuple('folders.name', 'resources.name', 'versions.version'),
    'in',
    wanted.map(({ folder, name, version }) => eb.tuple(folder, name, Number(version))),
  );
}
