import { type ResourceName, resourcePath } from '@azaion/kernel';
import { type HeldLease, type HeldLeases, ResourceError, type TrustedTime } from '@azaion/split-resource';

import type { TokenBearer } from '../session/caller-apis.js';
import type { OpenForCaller } from '../session/open-for-caller.js';

/** A lease is renewed when half of its life is over, and up to so much more: not by all devices at once. */
const JITTER = 0.1;

/** What {@link RenewLeases} works with. */
export interface RenewLeasesDependencies {
  readonly leases: HeldLeases;
  readonly open: Pick<OpenForCaller, 'open'>;
  readonly time: Pick<TrustedTime, 'effectiveMs'>;
  readonly bearer: () => Promise<TokenBearer>;
  /** 0 to 1, different on every device. */
  readonly jitter: number;
}

/** Keeps the leases alive while the Admin API can be reached: of the newest version of each resource, and of what is pinned. */
export class RenewLeases {
  constructor(private readonly using: RenewLeasesDependencies) {}

  /**
   * Renews what is due. What the Admin API refuses for good is forgotten.
   *
   * @param pinned - Versions that are wanted by their number.
   * @returns How many were renewed.
   * @throws ResourceError `api.*` when the Admin API cannot be asked; the signal's reason.
   */
  async run(pinned: readonly (ResourceName & { readonly version: number })[], signal: AbortSignal): Promise<number> {
    const { leases } = this.using;
    await leases.dropExpired();
    const newest = new Set<string>();
    let renewed = 0;
    for (const lease of await leases.all()) {
      const { folder, name } = lease.resource;
      const isNewest = !newest.has(resourcePath(lease.resource)); // the highest version comes first
      newest.add(resourcePath(lease.resource));
      const isPinned = pinned.some(
        (one) => one.folder === folder && one.name === name && one.version === lease.version,
      );
      if ((isNewest || isPinned) && this.isDue(lease) && (await this.renew(lease, signal))) renewed += 1;
    }
    return renewed;
  }

  private isDue({ token: { issuedAt, notAfter } }: HeldLease): boolean {
    const dueSeconds = issuedAt + (notAfter - issuedAt) * (0.5 + JITTER * this.using.jitter);
    return this.using.time.effectiveMs() / 1000 >= dueSeconds;
  }

  private async renew({ resource, version }: HeldLease, signal: AbortSignal): Promise<boolean> {
    const { leases, open, bearer } = this.using;
    try {
      await open.open(resource, { version, movesMark: false, lease: 'never' }, await bearer(), signal);
      return true;
    } catch (error) {
      if (!(error instanceof ResourceError)) throw error;
      if (error.code !== 'resource.not-found' && error.code !== 'resource.forbidden') throw error;
      await leases.refused(resource, error.code === 'resource.not-found' ? version : undefined);
      return false;
    }
  }
}
