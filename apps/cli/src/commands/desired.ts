import { type ResourceName } from '@azaion/kernel';

import { CliFailure, usageFailure } from '../cli-failure.js';
import { type CommandContext } from '../command-context.js';
import { failure } from '../failure-table.js';
import { type Facts, FleetApi } from '../fleet/fleet-api.js';
import { parseWantedVersion, type WantedVersion, wantedVersions, wantedVersionText } from '../fleet/wanted-version.js';
import { parseResourceReference } from '../resource-reference.js';

/** How often a change is repeated on what others have changed meanwhile. */
const MAX_TRIES = 5;

/** Whose wishes. */
export interface DesiredOptions {
  readonly api?: string;
  readonly group?: string;
  readonly device?: string;
}

/** Options of `azaion desired set`. */
export interface SetDesiredOptions extends DesiredOptions {
  /** Text of a {@link WantedVersion}. */
  readonly images?: string;
  /** Of a group. */
  readonly priority?: number;
}

/** Options of `azaion desired unset`. */
export interface UnsetDesiredOptions extends DesiredOptions {
  readonly images?: boolean;
}

interface Wishes {
  readonly resources: readonly WantedVersion[];
  readonly images: WantedVersion | null;
  readonly priority?: number;
}

/** `azaion desired show`: what a group or device shall hold and run. */
export async function showDesired(context: CommandContext, options: DesiredOptions): Promise<void> {
  const path = pathOf(options);
  const { facts } = await (await FleetApi.open(context, options.api)).ask('GET', path);
  context.output.result({ desired: facts }, linesOf(facts));
}

/** `azaion desired set`: adds wishes, or changes their versions; the others stay. */
export async function setDesired(
  context: CommandContext,
  references: readonly string[],
  options: SetDesiredOptions,
): Promise<void> {
  const wanted = references.map(parseWantedVersion);
  const images = options.images === undefined ? undefined : parseWantedVersion(options.images);
  if (options.priority !== undefined && options.group === undefined)
    throw usageFailure('Only a group has a priority: a device’s own wishes always come first.');
  if (wanted.length === 0 && images === undefined && options.priority === undefined)
    throw usageFailure('Nothing is to be changed.', 'Name resources as FOLDER/NAME[@VERSION], --images or --priority.');
  await change(context, options, (wishes) => ({
    resources: [...wishes.resources.filter((each) => !names(wanted, each)), ...wanted],
    images: images ?? wishes.images,
    ...(options.group === undefined ? {} : { priority: options.priority ?? wishes.priority ?? 0 }),
  }));
}

/** `azaion desired unset`: takes wishes back; the others stay. */
export async function unsetDesired(
  context: CommandContext,
  references: readonly string[],
  options: UnsetDesiredOptions,
): Promise<void> {
  const unwanted = references.map(parseResourceReference);
  if (unwanted.length === 0 && options.images !== true)
    throw usageFailure('Nothing is to be changed.', 'Name resources as FOLDER/NAME, or --images.');
  await change(context, options, (wishes) => {
    const missing = unwanted.find((each) => !names(wishes.resources, each));
    if (missing !== undefined)
      throw failure('not-found', 'desired.not-set', `${missing.folder}/${missing.name} is not wished for here.`);
    return {
      ...wishes,
      resources: wishes.resources.filter((each) => !names(unwanted, each)),
      images: options.images === true ? null : wishes.images,
    };
  });
}

/** Reads, changes and replaces; when somebody else was faster, all of it again on what they left. */
async function change(
  context: CommandContext,
  options: DesiredOptions,
  edit: (wishes: Wishes) => Wishes,
): Promise<void> {
  const path = pathOf(options);
  const fleet = await FleetApi.open(context, options.api);
  for (let tries = 1; ; tries += 1) {
    const { facts, etag } = await fleet.ask('GET', path);
    const wishes = edit(wishesOf(facts));
    try {
      const headers = etag === undefined ? {} : { 'if-match': etag };
      await fleet.request('PUT', path, { body: wishes, headers });
    } catch (error) {
      const raced = error instanceof CliFailure && error.code === 'request.precondition-failed';
      if (raced && tries < MAX_TRIES) continue;
      throw error;
    }
    const { facts: desired } = await fleet.ask('GET', path);
    context.output.result({ desired }, linesOf(desired));
    return;
  }
}

function pathOf({ group, device }: DesiredOptions): readonly string[] {
  if (group !== undefined && device === undefined) return ['groups', group, 'desired'];
  if (device !== undefined && group === undefined) return ['devices', device, 'desired'];
  throw usageFailure('Say whose wishes: give either --group or --device.');
}

function wishesOf(facts: Facts): Wishes {
  const [images = null] = wantedVersions([facts['images']]);
  const { priority } = facts;
  return {
    resources: wantedVersions(facts['resources']),
    images,
    ...(typeof priority === 'number' ? { priority } : {}),
  };
}

function names(list: readonly ResourceName[], { folder, name }: ResourceName): boolean {
  return list.some((each) => each.folder === folder && each.name === name);
}

function linesOf(facts: Facts): string[] {
  const { effective } = facts;
  const lines = wishLines(facts);
  if (typeof effective !== 'object' || effective === null) return lines;
  return ['For this device alone:', ...lines, 'With its groups:', ...wishLines(effective as Facts)];
}

function wishLines(facts: Facts): string[] {
  const [images] = wantedVersions([facts['images']]);
  const resources = wantedVersions(facts['resources']);
  return [
    ...resources.map((each) => `  ${wantedVersionText(each)}${origin(facts['resources'], each)}`),
    ...(resources.length === 0 ? ['  no resources'] : []),
    `  images: ${images === undefined ? '-' : `${wantedVersionText(images)}${origin([facts['images']], images)}`}`,
  ];
}

/** Whose wish it is, where the answer says so. */
function origin(list: unknown, { folder, name }: ResourceName): string {
  const entry = (Array.isArray(list) ? (list as Facts[]) : []).find(
    (each) => each['folder'] === folder && each['name'] === name,
  );
  return typeof entry?.['from'] === 'string' ? ` (${entry['from']})` : '';
}
