import type { WORKING_ROLES } from '@azaion/identity';

import { AdminApi } from '../admin-api.js';
import { usageFailure } from '../cli-failure.js';
import type { CommandContext } from '../command-context.js';
import { formatBytes } from '../format.js';
import { contentOf } from '../http.js';
import { parseFolder } from '../resource-reference.js';

/** A role that can be given rights. */
export type WorkingRole = (typeof WORKING_ROLES)[number];

/** Options of `azaion folder show`. */
export interface FolderOptions {
  readonly api?: string;
}

/** Options of `azaion folder set`: what is left out stays. */
export interface FolderSetOptions extends FolderOptions {
  /** All roles that read, instead of those that do now. */
  readonly read?: readonly WorkingRole[];
  /** Further roles that read. */
  readonly addRead?: readonly WorkingRole[];
  /** All roles that write, instead of those that do now. */
  readonly write?: readonly WorkingRole[];
  /** Further roles that write. */
  readonly addWrite?: readonly WorkingRole[];
  readonly leaseDays?: number;
  /** Bytes, or `none`. */
  readonly quota?: number | 'none';
  readonly requireAttestation?: boolean;
  readonly peopleMayRead?: boolean;
}

interface Policy {
  readonly read: readonly string[];
  readonly write: readonly string[];
  readonly leaseSeconds: number;
  readonly quotaBytes: number | null;
  readonly requireAttestation: boolean;
  readonly peopleMayRead: boolean;
}

const DAY_SECONDS = 86_400;

/** `azaion folder show`: the rules of a folder. */
export async function showFolder(context: CommandContext, name: string, { api }: FolderOptions): Promise<void> {
  const folder = parseFolder(name);
  const { routes } = await AdminApi.open(context, api);
  const policy = contentOf(await routes.GET('/folders/{folder}', { params: { path: { folder } } }));
  context.output.result({ policy }, linesOf(folder, policy));
}

/** `azaion folder set`: changes rules of a folder; the others stay as they are. */
export async function setFolder(context: CommandContext, name: string, options: FolderSetOptions): Promise<void> {
  const folder = parseFolder(name);
  const { api, read, addRead, write, addWrite, leaseDays, quota, requireAttestation, peopleMayRead } = options;
  const changes = {
    ...(read === undefined ? {} : { read: [...read] }),
    ...(write === undefined ? {} : { write: [...write] }),
    ...(leaseDays === undefined ? {} : { leaseSeconds: Math.round(leaseDays * DAY_SECONDS) }),
    ...(quota === undefined ? {} : { quotaBytes: quota === 'none' ? null : quota }),
    ...(requireAttestation === undefined ? {} : { requireAttestation }),
    ...(peopleMayRead === undefined ? {} : { peopleMayRead }),
  };
  if (Object.keys(changes).length === 0 && addRead === undefined && addWrite === undefined)
    throw usageFailure('Nothing is to be changed.', 'For example: azaion folder set models --lease-days 3');
  const { routes } = await AdminApi.open(context, api);
  const params = { path: { folder } };
  const before = contentOf(await routes.GET('/folders/{folder}', { params }));
  const rules = rulesOf(before);
  const body = {
    ...rules,
    read: [...new Set([...rules.read, ...(addRead ?? [])])],
    write: [...new Set([...rules.write, ...(addWrite ?? [])])],
    ...changes,
  };
  const policy = contentOf(await routes.PUT('/folders/{folder}', { params, body }));
  context.output.result({ policy }, linesOf(folder, policy));
}

/** What may be sent back of an answer: a member more would be refused. */
function rulesOf<P extends Policy>(policy: P): Pick<P, keyof Policy> {
  const { read, write, leaseSeconds, quotaBytes, requireAttestation, peopleMayRead } = policy;
  return { read, write, leaseSeconds, quotaBytes, requireAttestation, peopleMayRead };
}

function linesOf(folder: string, policy: Policy): readonly string[] {
  const { read, write, leaseSeconds, quotaBytes, requireAttestation, peopleMayRead } = policy;
  return [
    `Folder ${folder}`,
    `  read: ${read.join(', ') || '-'}`,
    `  write: ${write.join(', ') || '-'}`,
    `  lease of devices: ${(leaseSeconds / DAY_SECONDS).toFixed(1)} days`,
    `  quota: ${quotaBytes === null ? 'none' : formatBytes(quotaBytes)}`,
    `  attested devices only: ${requireAttestation ? `yes${peopleMayRead ? ', and people' : ''}` : 'no'}`,
  ];
}
