import type { StatementKeys } from '@azaion/crypto';

/** The statement keys this reader trusts right now, and the versions it has accepted before. */
export abstract class StatementTrust {
  /** Verified keys; fetched and checked against the pinned root when `refresh` is set or nothing is at hand. */
  abstract keys(refresh?: boolean): Promise<StatementKeys>;
  /** The highest version of a resource accepted as its newest, 0 for none. */
  abstract highestVersion(folderId: string, resourceId: string): Promise<number>;
  /** Remembers a version accepted as the newest. */
  abstract accept(folderId: string, resourceId: string, version: number): Promise<void>;
}
