import { type CommandContext } from '../command-context.js';
import { failure } from '../failure-table.js';
import { columns, FleetApi, shown } from '../fleet/fleet-api.js';
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
  const fleet = await FleetApi.open(context, api);
  const groups = await fleet.list('groups', 'groups', {});
  const rows = groups.map((group) => [
    shown(group['name']),
    shown(group['devices']),
    shown(group['priority']),
    shown(group['updatedAt']),
  ]);
  context.output.result({ groups }, columns(['GROUP', 'DEVICES', 'PRIORITY', 'CHANGED'], rows));
}

/** `azaion group create`: a group that wants nothing yet. */
export async function createGroup(
  context: CommandContext,
  name: string,
  { api, priority = 0 }: GroupCreateOptions,
): Promise<void> {
  const fleet = await FleetApi.open(context, api);
  try {
    const body = { resources: [], images: null, priority };
    await fleet.request('PUT', ['groups', name, 'desired'], { body, headers: { 'if-none-match': '*' } });
  } catch (error) {
    if (!(error instanceof CliFailure) || error.code !== 'request.precondition-failed') throw error;
    throw failure('refused', 'group.exists', `There is a group "${name}" already.`, 'Use it, or take another name.');
  }
  context.output.result({ name, priority }, [`Created the group ${name}. Say what it shall hold: azaion desired set.`]);
}

/** `azaion group delete`: its devices stay. */
export async function deleteGroup(context: CommandContext, name: string, { api }: GroupOptions): Promise<void> {
  const fleet = await FleetApi.open(context, api);
  await fleet.send('DELETE', ['groups', name]);
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
  const fleet = await FleetApi.open(context, api);
  const method = change === 'add' ? 'PUT' : 'DELETE';
  for (const serial of serials) await fleet.send(method, ['groups', name, 'members', serial]);
  context.output.result({ name, [change === 'add' ? 'added' : 'removed']: serials }, [
    `${change === 'add' ? 'In' : 'No longer in'} the group ${name}: ${serials.join(', ')}.`,
  ]);
}
