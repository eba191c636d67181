import type { ResourceName } from '@azaion/kernel';

import { CliFailure, usageFailure } from '../cli-failure.js';
import { AdminApi } from '../admin-api.js';
import type { CommandContext } from '../command-context.js';
import { failure } from '../failure-table.js';
import { parseWantedVersion, type WantedVersion, wantedVersions, wantedVersionText } from '../wanted-version.js';
import { contentOf } from '../http.js';
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
  /** Of a group. */
  readonly priority: number;
}

/** What an answer says about a group or a device. */
interface Desired {
  readonly resources: readonly WantedVersion[];
  readonly images: WantedVersion | null;
  readonly priority?: number;
  /** Of a device: with the wishes of its groups. */
  readonly effective?: Effective;
}

interface Effective {
  readonly resources: readonly (WantedVersion & { readonly from: string })[];
  readonly images: (WantedVersion & { readonly from: string }) | null;
}

/** `azaion desired show`: what a group or device shall hold and run. */
export async function showDesired(context: CommandContext, options: DesiredOptions): Promise<void> {
  const { desired } = await wishing(await AdminApi.open(context, options.api), options).read();
  context.output.result({ desired }, linesOf(desired));
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
    priority: options.priority ?? wishes.priority,
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
      throw failure('desired.not-set', `${missing.folder}/${missing.name} is not wished for here.`);
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
  const wishes = wishing(await AdminApi.open(context, options.api), options);
  for (let tries = 1; ; tries += 1) {
    const { desired: before, etag } = await wishes.read();
    try {
      await wishes.replace(edit(wishesOf(before)), etag === null ? {} : { 'if-match': etag });
    } catch (error) {
      const raced = error instanceof CliFailure && error.code === 'request.precondition-failed';
      if (raced && tries < MAX_TRIES) continue;
      throw error;
    }
    const { desired } = await wishes.read();
    context.output.result({ desired }, linesOf(desired));
    return;
  }
}

/** What a group or device shall hold, with what the entity tag says that it was. */
interface Wishing {
  read(): Promise<{ readonly desired: Desired; readonly etag: string | null }>;
  replace(wishes: Wishes, headers: Readonly<Record<string, string>>): Promise<unknown>;
}

function wishing({ routes }: AdminApi, { group, device }: DesiredOptions): Wishing {
  const told = (
    answer: Parameters<typeof contentOf<Desired>>[0],
  ): { readonly desired: Desired; readonly etag: string | null } => ({
    desired: contentOf(answer),
    etag: answer.response.headers.get('etag'),
  });
  if (group !== undefined && device === undefined) {
    const params = { path: { name: group } };
    return {
      read: async () => told(await routes.GET('/groups/{name}/desired', { params })),
      replace: ({ resources, images, priority }, headers) =>
        routes.PUT('/groups/{name}/desired', {
          params,
          body: { resources: [...resources], images, priority },
          headers,
        }),
    };
  }
  if (device !== undefined && group === undefined) {
    const params = { path: { serial: device } };
    return {
      read: async () => told(await routes.GET('/devices/{serial}/desired', { params })),
      replace: ({ resources, images }, headers) =>
        routes.PUT('/devices/{serial}/desired', { params, body: { resources: [...resources], images }, headers }),
    };
  }
  throw usageFailure('Say whose wishes: give either --group or --device.');
}

/** What may be sent back of an answer: a member more would be refused. */
function wishesOf({ resources, images, priority = 0 }: Desired): Wishes {
  const [archive = null] = wantedVersions([images]);
  return { resources: wantedVersions(resources), images: archive, priority };
}

function names(list: readonly ResourceName[], { folder, name }: ResourceName): boolean {
  return list.some((each) => each.folder === folder && each.name === name);
}

function linesOf(desired: Desired): string[] {
  const lines = wishLines(desired);
  const { effective } = desired;
  if (effective === undefined) return lines;
  return ['For this device alone:', ...lines, 'With its groups:', ...wishLines(effective)];
}

function wishLines({ resources, images }: Desired | Effective): string[] {
  return [
    ...resources.map((each) => `  ${wantedVersionText(each)}${origin(each)}`),
    ...(resources.length === 0 ? ['  no resources'] : []),
    `  images: ${images === null ? '-' : `${wantedVersionText(images)}${origin(images)}`}`,
  ];
}

/** Whose wish it is, where the answer says so. */
function origin(wish: WantedVersion): string {
  return 'from' in wish && typeof wish.from === 'string' ? ` (${wish.from})` : '';
}
