import type { CommandContext } from '../command-context.js';
import { failure } from '../failure-table.js';
import { AdminApi, allPages } from '../admin-api.js';
import { columns, shown } from '../table.js';
import { CliFailure } from '../cli-failure.js';

/** Options of every group command. */
export interface GroupOptions {
  readonly api?: string;
}

/** Options of `azaion group create`. */
export interface GroupCreateOptions extends GroupOptions {
  readonly priority?: number;
}

/** `azaion group list`. */
export async function listGroups(context: CommandContext, { api }: GroupOptions): Promise<void> {
  const { routes } = await AdminApi.open(context, api);
  const groups = await allPages(
    (query) => routes.GET('/groups', { params: { query } }),
    (page) => page.groups,
  );
  const rows = groups.map((group) => [
    shown(group.name),
    shown(group.devices),
    shown(group.priority),
    shown(group.updatedAt),
  ]);
  context.output.result({ groups }, columns(['GROUP', 'DEVICES', 'PRIORITY', 'CHANGED'], rows));
}

/** `azaion group create`: a group that wants nothing yet. */
export async function createGroup(
  context: CommandContext,
  name: string,
  { api, priority = 0 }: GroupCreateOptions,
): Promise<void> {
  const { routes } = await AdminApi.open(context, api);
  try {
    await routes.PUT('/groups/{name}/desired', {
      params: { path: { name } },
      headers: { 'if-none-match': '*' },
      body: { resources: [], images: null, priority },
    });
  } catch (error) {
    if (!(error instanceof CliFailure) || error.code !== 'request.precondition-failed') throw error;
    throw failure('group.exists', `There is a group "${name}" already.`);
  }
  context.output.result({ name, priority }, [`Created the group ${name}. Say what it shall hold: azaion desired set.`]);
}

/** `azaion group delete`: its devices stay. */
export async function deleteGroup(context: CommandContext, name: string, { api }: GroupOptions): Promise<void> {
  const { routes } = await AdminApi.open(context, api);
  await routes.DELETE('/groups/{name}', { params: { path: { name } } });
  context.output.result({ name }, [
    `Deleted the group ${name}. Its devices stay; what only it wanted is wanted no more.`,
  ]);
}

/** `azaion group add` and `azaion group remove`: which devices belong to it. */
export async function changeMembers(
  context: CommandContext,
  change: 'add' | 'remove',
  name: string,
  serials: readonly string[],
  { api }: GroupOptions,
): Promise<void> {
  const { routes } = await AdminApi.open(context, api);
  for (const serial of serials) {
    const params = { path: { name, serial } };
    if (change === 'add') await routes.PUT('/groups/{name}/members/{serial}', { params });
    else await routes.DELETE('/groups/{name}/members/{serial}', { params });
  }
  context.output.result({ name, [change === 'add' ? 'added' : 'removed']: serials }, [
    `${change === 'add' ? 'In' : 'No longer in'} the group ${name}: ${serials.join(', ')}.`,
  ]);
}
