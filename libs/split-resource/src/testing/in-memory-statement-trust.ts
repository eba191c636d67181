import type { StatementKeys } from '@azaion/crypto';

import { StatementTrust } from '../fetch/statement-trust.js';

/** Trusts the keys it is given, and remembers accepted versions in memory. */
export class InMemoryStatementTrust extends StatementTrust {
  private readonly versions = new Map<string, number>();
  private current: StatementKeys | undefined;

  /** @param load - Reads the key document. */
  constructor(private readonly load: () => Promise<StatementKeys>) {
    super();
  }

  override async keys(refresh = false): Promise<StatementKeys> {
    if (refresh || this.current === undefined) this.current = await this.load();
    return this.current;
  }

  override highestVersion(folderId: string, resourceId: string): Promise<number> {
    return Promise.resolve(this.versions.get(`${folderId}/${resourceId}`) ?? 0);
  }

  override async accept(folderId: string, resourceId: string, version: number): Promise<void> {
    const highest = await this.highestVersion(folderId, resourceId);
    this.versions.set(`${folderId}/${resourceId}`, Math.max(highest, version));
  }
}
