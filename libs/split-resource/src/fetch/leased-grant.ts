import type { Statement } from '@azaion/crypto';
import type { ResourceName } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import type { HeldLease, HeldLeases } from '../leases/held-leases.js';
import type { LeasedContent } from './leased-content.js';
import type { GrantAnswer } from '../ports/grant-api.js';
import type { Recipient } from './recipient.js';
import type { StatementTrust } from './statement-trust.js';

/** What is to be opened, and for whom. */
interface Wanted {
  readonly resource: ResourceName;
  readonly version?: number | undefined;
  readonly recipient: Recipient;
}

interface Grant {
  readonly answer: GrantAnswer;
  readonly statement: Statement;
  readonly recipient: Recipient;
  readonly leased: boolean;
  readonly pinned?: boolean;
}

/** Chooses between the Admin API and what is at hand (docs/formats/sealed-resource.md, "Leases"). */
export class LeasedGrant {
  constructor(
    private readonly leases: HeldLeases,
    private readonly trust: StatementTrust,
    private readonly content: LeasedContent,
  ) {}

  /**
   * What the Admin API grants, unless it cannot be reached or lets wait while a lease holds. What it refuses for good is forgotten here, too.
   *
   * @throws What `grant` throws, when no lease serves.
   */
  async unlessGranted(grant: () => Promise<Grant>, wanted: Wanted): Promise<Grant> {
    const granting = grant();
    granting.then(
      () => this.leases.reached(true),
      () => undefined,
    );
    const first = await outcomeWithin(granting, this.leases.patienceMs());
    if (first?.granted !== undefined) return first.granted;
    if (first !== undefined && !isUnreachable(first.error)) {
      await this.forgetIfRefused(first.error, wanted);
      throw first.error;
    }
    if (first === undefined) this.leases.reached(false);
    return (await this.find(wanted)) ?? granting;
  }

  /**
   * The lease that serves: of the version that is named, else of the newest one that is complete on this machine and not older than what
   * was used before.
   *
   * @throws As {@link StatementTrust.keys}.
   */
  async find({ resource, version, recipient }: Wanted): Promise<Grant | undefined> {
    const held: HeldLease[] = [];
    const all = await this.leases.of(resource);
    // What an administrator has pinned counts as long as nothing was granted since that is not.
    const last = all.toSorted((left, right) => right.token.issuedAt - left.token.issuedAt)[0];
    const pinned = version === undefined && last?.token.pinned === true ? last.version : undefined;
    for (const lease of all) {
      const { folderId, resourceId, scope } = lease.statement;
      const mayRead = scope === 'fleet' || recipient.serial !== undefined; // a lease never widens a person's rights
      const lowest = version ?? (await this.trust.highestVersion(folderId, resourceId));
      const exactly = version ?? pinned;
      const isRight = exactly === undefined ? lease.version >= lowest : lease.version === exactly;
      if (mayRead && isRight) held.push(lease);
    }
    const lease = held.length > 1 ? ((await this.newestComplete(held)) ?? held[0]) : held[0];
    return lease === undefined
      ? undefined
      : {
          answer: lease.answer,
          statement: lease.statement,
          recipient: await this.leases.recipient(),
          leased: true,
          pinned: pinned !== undefined,
        };
  }

  private async newestComplete(held: readonly HeldLease[]): Promise<HeldLease | undefined> {
    for (const lease of held) if (await this.content.isComplete(lease)) return lease;
    return undefined;
  }

  /** A version that was withdrawn, and a folder that was closed to this device, are not to be opened by pulling the plug. */
  private async forgetIfRefused(error: unknown, { resource, version, recipient }: Wanted): Promise<void> {
    if (recipient.serial === undefined || !(error instanceof ResourceError)) return; // says nothing about the device
    if (error.code === 'resource.not-found') await this.leases.refused(resource, version);
    if (error.code === 'resource.forbidden') await this.leases.refused(resource);
  }
}

function isUnreachable(error: unknown): boolean {
  return error instanceof ResourceError && error.code === 'api.unreachable';
}

interface Outcome {
  readonly granted?: Grant;
  readonly error?: unknown;
}

/** What became of it in this time; `undefined` when nothing did. */
async function outcomeWithin(granting: Promise<Grant>, patienceMs: number): Promise<Outcome | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const waited = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), patienceMs);
  });
  const outcome = granting.then(
    (granted): Outcome => ({ granted }),
    (error: unknown): Outcome => ({ error }),
  );
  try {
    return await Promise.race([outcome, waited]);
  } finally {
    clearTimeout(timer);
  }
}
