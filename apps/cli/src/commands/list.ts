import { type ResourceName } from '@azaion/kernel';

import { parseResourceReference } from '../resource-reference.js';
import { type CommandContext } from '../command-context.js';
import { AdminApi, allPages, PAGE_ENTRIES } from '../admin-api.js';
import { formatBytes } from '../format.js';
import { contentOf } from '../http.js';
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
  const { folders: found } = contentOf(await routes.GET('/sealed'));
  const rows = found.map(({ name, resources: count }) => [shown(name), shown(count)]);
  output.result({ folders: found }, columns(['FOLDER', 'RESOURCES'], rows));
}

async function resources({ output }: CommandContext, { routes }: AdminApi, folder: string): Promise<void> {
  const found = await allPages(
    (cursor) =>
      routes.GET('/sealed/{folder}', {
        params: { path: { folder }, query: { limit: PAGE_ENTRIES, ...(cursor === undefined ? {} : { cursor }) } },
      }),
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
  const { folder, name } = resource;
  const facts = contentOf(await routes.GET('/sealed/{folder}/{name}', { params: { path: { folder, name } } }));
  const rows = facts.versions.map((entry) => [
    shown(entry.version) + (facts.pinnedVersion === entry.version ? ' (pinned)' : ''),
    formatBytes(entry.totalBytes),
    formatBytes(entry.recipeBytes),
    shown(entry.state),
    shown(entry.verification),
    shown(entry.scope),
    shown(entry.publisher),
    shown(entry.committedAt),
  ]);
  output.result(
    { ...facts, folder },
    columns(['VERSION', 'SIZE', 'RECIPE', 'STATE', 'VERIFIED', 'FOR', 'PUBLISHER', 'PUBLISHED'], rows),
  );
}
