import type { ResourceName } from '@azaion/kernel';

import { parseResourceReference } from '../resource-reference.js';
import type { CommandContext } from '../command-context.js';
import { AdminApi, allPages } from '../admin-api.js';
import { formatBytes } from '../format.js';
import { columns, shown } from '../table.js';

/** Options of `azaion list`. */
export interface ListOptions {
  readonly api?: string;
}

/** `azaion list`: the folders that the caller may read, what one of them holds, or the versions of one resource. */
export async function list(context: CommandContext, what: string | undefined, { api }: ListOptions): Promise<void> {
  const resource = what?.includes('/') === true ? parseResourceReference(what) : undefined;
  const service = await AdminApi.open(context, api);
  if (what === undefined) await folders(context, service);
  else if (resource === undefined) await resources(context, service, what);
  else await versions(context, service, resource);
}

async function folders({ output }: CommandContext, { routes }: AdminApi): Promise<void> {
  const found = await allPages(
    (query) => routes.GET('/sealed', { params: { query } }),
    (page) => page.folders,
  );
  const rows = found.map(({ name, resources: count }) => [shown(name), shown(count)]);
  output.result({ folders: found }, columns(['FOLDER', 'RESOURCES'], rows));
}

async function resources({ output }: CommandContext, { routes }: AdminApi, folder: string): Promise<void> {
  const found = await allPages(
    (query) => routes.GET('/sealed/{folder}', { params: { path: { folder }, query } }),
    (page) => page.resources,
  );
  const rows = found.map(({ name, kind, latestVersion, totalBytes, verification, updatedAt }) => [
    shown(name),
    shown(kind),
    shown(latestVersion),
    formatBytes(totalBytes),
    shown(verification),
    shown(updatedAt),
  ]);
  output.result(
    { folder, resources: found },
    columns(['NAME', 'KIND', 'VERSION', 'SIZE', 'VERIFIED', 'PUBLISHED'], rows),
  );
}

async function versions({ output }: CommandContext, { routes }: AdminApi, resource: ResourceName): Promise<void> {
  let pinnedVersion: number | null = null;
  let kind = '';
  const found = await allPages(
    (query) => routes.GET('/sealed/{folder}/{name}', { params: { path: resource, query } }),
    (page) => {
      ({ kind, pinnedVersion } = page);
      return page.versions;
    },
  );
  const rows = found.map((entry) => [
    shown(entry.version) + (pinnedVersion === entry.version ? ' (pinned)' : ''),
    formatBytes(entry.totalBytes),
    formatBytes(entry.recipeBytes),
    shown(entry.state),
    shown(entry.verification),
    shown(entry.scope),
    shown(entry.publisher),
    shown(entry.committedAt),
  ]);
  output.result(
    { ...resource, kind, pinnedVersion, versions: found },
    columns(['VERSION', 'SIZE', 'RECIPE', 'STATE', 'VERIFIED', 'FOR', 'PUBLISHER', 'PUBLISHED'], rows),
  );
}
