import { parseResourceReference } from '../resource-reference.js';
import { type CommandContext } from '../command-context.js';
import { columns, type Facts, FleetApi, shown } from '../fleet/fleet-api.js';
import { formatBytes } from '../format.js';

/** Options of `azaion list`. */
export interface ListOptions {
  readonly api?: string;
}

/** `azaion list`: the folders that the caller may read, what one of them holds, or the versions of one resource. */
export async function list(context: CommandContext, what: string | undefined, { api }: ListOptions): Promise<void> {
  const resource = what?.includes('/') === true ? parseResourceReference(what) : undefined;
  const service = await FleetApi.open(context, api);
  if (what === undefined) await folders(context, service);
  else if (resource === undefined) await resources(context, service, what);
  else await versions(context, service, [resource.folder, resource.name]);
}

async function folders({ output }: CommandContext, service: FleetApi): Promise<void> {
  const { facts } = await service.ask('GET', ['sealed']);
  const rows = entriesOf(facts, 'folders').map((folder) => [shown(folder['name']), shown(folder['resources'])]);
  output.result({ folders: facts['folders'] }, columns(['FOLDER', 'RESOURCES'], rows));
}

async function resources({ output }: CommandContext, service: FleetApi, folder: string): Promise<void> {
  const { facts } = await service.ask('GET', ['sealed', folder]);
  const rows = entriesOf(facts, 'resources').map((entry) => [
    shown(entry['name']),
    shown(entry['kind']),
    shown(entry['latestVersion']),
    formatBytes(Number(entry['totalBytes'])),
    shown(entry['verification']),
    shown(entry['updatedAt']),
  ]);
  output.result(
    { folder, resources: facts['resources'] },
    columns(['NAME', 'KIND', 'VERSION', 'SIZE', 'VERIFIED', 'PUBLISHED'], rows),
  );
}

async function versions({ output }: CommandContext, service: FleetApi, path: readonly string[]): Promise<void> {
  const { facts } = await service.ask('GET', ['sealed', ...path]);
  const rows = entriesOf(facts, 'versions').map((entry) => [
    shown(entry['version']) + (facts['pinnedVersion'] === entry['version'] ? ' (pinned)' : ''),
    formatBytes(Number(entry['totalBytes'])),
    formatBytes(Number(entry['recipeBytes'])),
    shown(entry['state']),
    shown(entry['verification']),
    shown(entry['scope']),
    shown(entry['publisher']),
    shown(entry['committedAt']),
  ]);
  output.result(
    { ...facts, folder: path[0] },
    columns(['VERSION', 'SIZE', 'RECIPE', 'STATE', 'VERIFIED', 'FOR', 'PUBLISHER', 'PUBLISHED'], rows),
  );
}

function entriesOf(facts: Facts, member: string): readonly Facts[] {
  const entries = facts[member];
  return Array.isArray(entries) ? (entries as Facts[]) : [];
}
