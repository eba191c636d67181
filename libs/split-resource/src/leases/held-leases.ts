import {
  assertInScope,
  CryptoError,
  type GrantToken,
  type Statement,
  verifyGrantToken,
  verifyStatement,
} from '@azaion/crypto';
import { type ResourceName } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import { type Recipient } from '../fetch/recipient.js';
import { type StatementTrust } from '../fetch/statement-trust.js';
import { type GrantAnswer } from '../ports/grant-api.js';
import { type Lease, type LeaseName, type LeaseStore } from '../ports/lease-store.js';
import { type TrustedTime } from './trusted-time.js';

/** Leases kept for one resource; the lowest versions go first. */
const MAX_PER_RESOURCE = 8;
/** How long a grant is waited for when a lease is at hand. */
const PATIENCE_MS = 5_000;
/** After a grant did not come in time, leases are used at once for so long, while further grants are asked for beside. */
const DOUBT_MS = 30_000;

/** A lease is written anew when this part of its life has passed since: an hour or so, not at every open. */
const REWRITE_AFTER = 1 / 128;

/** A lease that was verified just now. */
export interface HeldLease extends LeaseName {
  readonly statement: Statement;
  readonly token: GrantToken;
  /** With no URLs: they have long expired. */
  readonly answer: GrantAnswer;
}

/** What {@link HeldLeases} works with. */
export interface HeldLeasesDependencies {
  readonly store: LeaseStore;
  readonly trust: StatementTrust;
  readonly time: TrustedTime;
  /** The device whose key the leases are sealed to. */
  readonly recipient: () => Promise<Recipient>;
}

/** What this device may open without the Admin API. Every lease is verified at each use: signatures, scope, recipient, effective time. */
export class HeldLeases {
  private doubtUntilMs = 0;
  /** Tokens of the leases that this process kept. */
  private readonly kept = new Map<string, { readonly token: GrantToken; readonly verified: boolean }>();

  /** Which version of a resource was kept last: the order of leases says what is pinned. */
  private readonly lastKept = new Map<string, number>();

  constructor(private readonly using: HeldLeasesDependencies) {}

  /** The leases of a resource that hold now, the highest version first. @throws as {@link StatementTrust.keys}. */
  async of(resource: ResourceName): Promise<readonly HeldLease[]> {
    const held: HeldLease[] = [];
    for (const lease of await this.using.store.of(resource)) {
      const verified = await this.verified(lease);
      if (verified !== undefined) held.push(verified);
    }
    const lowest = Math.max(0, ...held.map(({ token }) => token.minVersion));
    return held.filter(({ version }) => version >= lowest);
  }

  /** Every lease that holds now. @throws as {@link StatementTrust.keys}. */
  async all(): Promise<readonly HeldLease[]> {
    const held: HeldLease[] = [];
    for (const resource of await this.resources()) held.push(...(await this.of(resource)));
    return held;
  }

  /** The key that leases are sealed to. */
  recipient(): Promise<Recipient> {
    return this.using.recipient();
  }

  /**
   * Takes note of a grant that was verified as the answer to a call made now, and keeps it if it may be kept. A full disk is no reason to refuse what was granted.
   *
   * @param token - Verified.
   */
  async granted(answer: GrantAnswer, statement: Statement, token: GrantToken): Promise<void> {
    this.using.time.observe(token.issuedAt);
    const resource = { folder: statement.folder, name: statement.resource };
    const name = { resource, version: statement.version };
    if (!token.lease || this.isKept(name, token, answer.verified)) return;
    const { grantId, sealedRecipeKey, grantToken, verified } = answer;
    const grant = { grantId, statement: answer.statement, grantToken, sealedRecipeKey, verified };
    try {
      await this.using.store.keep({ ...name, grant });
      this.kept.set(keyOf(name), { token, verified });
      this.lastKept.set(`${resource.folder}/${resource.name}`, name.version);
      const kept = await this.using.store.of(resource);
      for (const [place, { version }] of kept.entries())
        if (version < token.minVersion || place >= MAX_PER_RESOURCE) await this.drop({ resource, version });
    } catch (error) {
      if (!(error instanceof ResourceError) || error.code !== 'resource.no-space') throw error;
    }
  }

  /** Forgets a lease. */
  async drop(name: LeaseName): Promise<void> {
    this.kept.delete(keyOf(name));
    await this.using.store.drop(name);
  }

  /** Forgets every lease of a resource; with a version that one only. */
  async dropOf(resource: ResourceName, version?: number): Promise<void> {
    for (const lease of await this.using.store.of(resource))
      if (version === undefined || lease.version === version) await this.drop(lease);
  }

  /** Forgets what has expired for certain: by the time that the Admin API signed, whatever the clock says. */
  async dropExpired(): Promise<void> {
    const nowSeconds = Math.floor(this.using.time.signedMs() / 1000);
    for (const lease of await this.everyLease()) {
      const token = (await this.verified(lease, 0))?.token;
      if (token !== undefined && token.notAfter <= nowSeconds) await this.drop(lease);
    }
  }

  /** Forgets everything: the device was revoked. */
  async dropAll(): Promise<void> {
    for (const name of await this.using.store.names()) await this.drop(name);
  }

  /** How long a grant is worth waiting for. */
  patienceMs(): number {
    return this.using.time.monotonicMs() < this.doubtUntilMs ? 0 : PATIENCE_MS;
  }

  /** Takes note of whether the Admin API answered in time. */
  reached(inTime: boolean): void {
    this.doubtUntilMs = inTime ? 0 : this.using.time.monotonicMs() + DOUBT_MS;
  }

  private isKept(
    name: LeaseName,
    { issuedAt, notAfter, statementHash, minVersion, pinned }: GrantToken,
    verified: boolean,
  ): boolean {
    const kept = this.kept.get(keyOf(name));
    const before = kept?.token;
    return (
      before !== undefined &&
      kept?.verified === verified &&
      before.statementHash === statementHash &&
      before.minVersion === minVersion &&
      before.pinned === pinned &&
      this.lastKept.get(`${name.resource.folder}/${name.resource.name}`) === name.version &&
      before.notAfter <= notAfter && // a shortened life counts at once
      issuedAt - before.issuedAt < (before.notAfter - before.issuedAt) * REWRITE_AFTER
    );
  }

  private async resources(): Promise<readonly ResourceName[]> {
    const names = await this.using.store.names();
    return [...new Map(names.map(({ resource }) => [`${resource.folder}/${resource.name}`, resource])).values()];
  }

  private async everyLease(): Promise<readonly Lease[]> {
    const leases: Lease[] = [];
    for (const resource of await this.resources()) leases.push(...(await this.using.store.of(resource)));
    return leases;
  }

  private async verified(
    { resource, version, grant }: Lease,
    nowSeconds = Math.floor(this.using.time.effectiveMs() / 1000),
  ): Promise<HeldLease | undefined> {
    const { trust } = this.using;
    const keys = await trust.keys();
    const { point, serial } = await this.recipient();
    try {
      const statement = await verifyStatement(grant.statement, keys);
      if (statement.folder !== resource.folder || statement.resource !== resource.name || statement.version !== version)
        return undefined;
      assertInScope(statement, serial);
      const token = await verifyGrantToken(grant.grantToken, keys, {
        statement,
        statementJws: grant.statement,
        recipientPoint: point,
        nonce: undefined,
        nowSeconds,
      });
      return { resource, version, statement, token, answer: { ...grant, urls: [] } };
    } catch (error) {
      // It may hold later: the clock may be ahead, the key document old. What has certainly expired goes when leases are renewed.
      if (error instanceof CryptoError) return undefined;
      throw error;
    }
  }
}

function keyOf({ resource, version }: LeaseName): string {
  return `${resource.folder}/${resource.name}/${String(version)}`;
}
