import { type Role, WORKING_ROLES } from './roles.js';

const HOUR_SECONDS = 3600;
const DAY_SECONDS = 24 * HOUR_SECONDS;

/** Shortest lease that a folder may give its devices. */
export const MIN_LEASE_SECONDS = HOUR_SECONDS;
/** Longest lease that a folder may give its devices. */
export const MAX_LEASE_SECONDS = 90 * DAY_SECONDS;
/** Lease of a folder nobody has set rules for. */
export const DEFAULT_LEASE_SECONDS = 7 * DAY_SECONDS;

/** Which roles may read and write one folder. */
export interface FolderAccess {
  readonly read: readonly Role[];
  readonly write: readonly Role[];
}

/** What holds for one folder. Source: docs/reference/admin-http.md, `/folders/{folder}`. */
export interface FolderPolicy extends FolderAccess {
  /** How long a device may use a grant offline; {@link MIN_LEASE_SECONDS} to {@link MAX_LEASE_SECONDS}. */
  readonly leaseSeconds: number;
  /** Most bytes of packs and older clients’ files that the folder may hold; `undefined` for no limit. */
  readonly quotaBytes: number | undefined;
  /** Whether devices need attested keys, and people are kept out. */
  readonly requireAttestation: boolean;
  /** Whether people get grants although the folder requires attestation. */
  readonly peopleMayRead: boolean;
}

/** Somebody who reads: a device of the fleet, or a person. */
export interface FolderReader {
  readonly role: Role;
  readonly isDevice: boolean;
  /** Whether the device, or the device whose Loader carries the person's call, has proved where its keys live. */
  readonly attested: boolean;
}

/** The folder in which devices publish the engines they built for themselves. */
export const ENGINES_FOLDER = 'engines';

/** What holds for a folder nobody has set rules for. */
export function defaultFolderPolicy(folder: string): FolderPolicy {
  const publishers: readonly Role[] = ['ResourceUploader', 'ApiAdmin'];
  return {
    read: WORKING_ROLES,
    write: folder === ENGINES_FOLDER ? [...publishers, 'CompanionPC'] : publishers,
    leaseSeconds: DEFAULT_LEASE_SECONDS,
    quotaBytes: undefined,
    requireAttestation: false,
    peopleMayRead: false,
  };
}

/** Whether a role may read. `None` never may, whatever the policy says. */
export function mayRead(policy: Pick<FolderAccess, 'read'>, role: Role): boolean {
  return role !== 'None' && policy.read.includes(role);
}

/** Whether a role may write. `None` never may, whatever the policy says. */
export function mayWrite(policy: Pick<FolderAccess, 'write'>, role: Role): boolean {
  return role !== 'None' && policy.write.includes(role);
}

/** Whether attestation lets somebody see what a folder holds, apart from its role: behind an attested device people may. */
export function isAttestedFor(policy: FolderPolicy, reader: FolderReader): boolean {
  return !policy.requireAttestation || reader.attested || (policy.peopleMayRead && !reader.isDevice);
}

/** Whether attestation lets somebody open what a folder holds, apart from its role: people are kept out unless the folder says otherwise. */
export function mayOpenAttested(policy: FolderPolicy, reader: FolderReader): boolean {
  return !policy.requireAttestation || (reader.isDevice ? reader.attested : policy.peopleMayRead);
}
