import { type ResourceName, resourcePath } from '@azaion/kernel';

import type { GrantAnswer } from './grant-api.js';

/** Which version a lease opens. */
export interface LeaseName {
  readonly resource: ResourceName;
  readonly version: number;
}

/** `folder/name/version`. */
export function leasePath({ resource, version }: LeaseName): string {
  return `${resourcePath(resource)}/${String(version)}`;
}

/** A grant kept on the device as it was received: what it holds is sealed to the device's key. Nothing in it has been verified. */
export interface Lease extends LeaseName {
  readonly grant: Omit<GrantAnswer, 'urls'>;
}

/** Leases kept on the device. It verifies nothing; who uses a lease does, each time. */
export abstract class LeaseStore {
  /** Which leases are kept, in no order. */
  abstract names(): Promise<readonly LeaseName[]>;

  /** The kept leases of one resource, unverified, the highest version first. One that cannot be read back is left out. */
  abstract of(resource: ResourceName): Promise<readonly Lease[]>;

  /** Keeps a lease in place of an earlier one of the same version. After it resolves it survives a power cut. @throws ResourceError `resource.no-space`. */
  abstract keep(lease: Lease): Promise<void>;

  /** Forgets a lease; one that is not there is forgotten already. */
  abstract drop(name: LeaseName): Promise<void>;
}
