import { type Role, WORKING_ROLES } from './roles.js';

/** Which roles may read and write one folder. Source: docs/reference/admin-http.md, `/folders/{folder}`. */
export interface FolderPolicy {
  readonly read: readonly Role[];
  readonly write: readonly Role[];
}

/** The folder in which devices publish the engines they built for themselves. */
export const ENGINES_FOLDER = 'engines';

/** What holds for a folder nobody has set rules for. */
export function defaultFolderPolicy(folder: string): FolderPolicy {
  const publishers: readonly Role[] = ['ResourceUploader', 'ApiAdmin'];
  return { read: WORKING_ROLES, write: folder === ENGINES_FOLDER ? [...publishers, 'CompanionPC'] : publishers };
}

/** Whether a role may read. `None` never may, whatever the policy says. */
export function mayRead(policy: FolderPolicy, role: Role): boolean {
  return role !== 'None' && policy.read.includes(role);
}

/** Whether a role may write. `None` never may, whatever the policy says. */
export function mayWrite(policy: FolderPolicy, role: Role): boolean {
  return role !== 'None' && policy.write.includes(role);
}
