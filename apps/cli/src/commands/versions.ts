import { usageFailure } from '../cli-failure.js';
import type { CommandContext } from '../command-context.js';
import { AdminApi } from '../admin-api.js';
import { contentOf } from '../http.js';
import { parseCertainVersion } from '../wanted-version.js';
import { parseResourceReference } from '../resource-reference.js';

/** Options of the commands on versions. */
export interface VersionOptions {
  readonly api?: string;
}

/** Options of `azaion pin`. */
export interface PinOptions extends VersionOptions {
  readonly remove?: boolean;
}

/** `azaion promote`: a version that a device published for itself becomes the fleet's. */
export async function promote(context: CommandContext, reference: string, { api }: VersionOptions): Promise<void> {
  const { folder, name, version } = await changeVersion(context, reference, 'promote', api);
  context.output.result({ folder, name, version }, [
    `Version ${String(version)} of ${folder}/${name} is the fleet's: every device that may read the folder can fetch it.`,
  ]);
}

/** `azaion withdraw`: no more grants of a version, for good. */
export async function withdraw(context: CommandContext, reference: string, { api }: VersionOptions): Promise<void> {
  const { folder, name, version } = await changeVersion(context, reference, 'withdraw', api);
  context.output.result({ folder, name, version }, [
    `Withdrew version ${String(version)} of ${folder}/${name}: nobody is granted it any more, and what only it needed is deleted after two days.`,
    `Devices that used it refuse an older version unless it is named; to roll back: azaion pin ${folder}/${name}@VERSION.`,
  ]);
}

/** `azaion pin`: requests without a version get a certain one, or again the newest. */
export async function pin(
  context: CommandContext,
  reference: string,
  { api, remove = false }: PinOptions,
): Promise<void> {
  if (remove === reference.includes('@'))
    throw usageFailure('Name either a version or --remove.', 'For example: azaion pin models/detector.onnx@1');
  const { folder, name, version } = remove
    ? { ...parseResourceReference(reference), version: undefined }
    : parseCertainVersion(reference);
  const { routes } = await AdminApi.open(context, api);
  const params = { path: { folder, name } };
  if (version === undefined) await routes.DELETE('/sealed/{folder}/{name}/pin', { params });
  else await routes.POST('/sealed/{folder}/{name}/pin', { params, body: { version } });
  context.output.result({ folder, name, pinned: version ?? null }, [
    version === undefined
      ? `${folder}/${name} is not pinned: requests without a version get the newest.`
      : `${folder}/${name} is pinned to version ${String(version)}: requests without a version get it, also where a newer one was used.`,
  ]);
}

/** `azaion folder rotate-dedup-key`: what is published from now on shares no key with what was before. */
export async function rotateDedupKey(context: CommandContext, folder: string, { api }: VersionOptions): Promise<void> {
  const { routes } = await AdminApi.open(context, api);
  const { domain } = contentOf(
    await routes.POST('/sealed/{folder}/rotate-dedup-key', { params: { path: { folder } } }),
  );
  context.output.result({ folder, domain }, [
    `${folder} has a new dedup key. What is there stays readable; the next publish of each resource sends all of it once.`,
  ]);
}

async function changeVersion(
  context: CommandContext,
  reference: string,
  change: 'promote' | 'withdraw',
  api: string | undefined,
): Promise<{ readonly folder: string; readonly name: string; readonly version: number }> {
  const { folder, name, version } = parseCertainVersion(reference);
  const { routes } = await AdminApi.open(context, api);
  await routes.POST(`/sealed/{folder}/{name}/versions/{version}/${change}`, {
    params: { path: { folder, name, version } },
  });
  return { folder, name, version };
}
