import {
  assertInScope,
  CryptoError,
  type GrantToken,
  type Statement,
  verifyGrantToken,
  verifyStatement,
} from '@azaion/crypto';
import { type ResourceName, resourcePath } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import type { Recipient } from '../fetch/recipient.js';
import type { StatementTrust } from '../fetch/statement-trust.js';
import type { GrantAnswer } from '../ports/grant-api.js';
import { type Lease, type LeaseName, leasePath, type LeaseStore } from '../ports/lease-store.js';
import type { RefusalMarkStore } from '../ports/refusal-mark-store.js';
import { LeaseRefusals } from './lease-refusals.js';
import type { TrustedTime } from './trusted-time.js';

/** Leases kept for one resource, beside what is wanted or pinned; the lowest versions go first. */
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
  /** What the Admin API has refused this device. */
  readonly refusals: RefusalMarkStore;
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

  /** What an operator wants on this device by its number; `undefined` as long as nobody has said so. */
  private wanted: readonly (ResourceName & { readonly version: number })[] | undefined;

  private readonly refusals: LeaseRefusals;

  constructor(private readonly using: HeldLeasesDependencies) {
    this.refusals = new LeaseRefusals(using.refusals);
  }

  /** The leases of a resource that hold now, the highest version first. @throws as {@link StatementTrust.keys}. */
  async of(resource: ResourceName): Promise<readonly HeldLease[]> {
    return this.using.time.isCertain ? this.current(resource) : [];
  }

  /** As {@link of}, also where nobody knows how much time has passed. */
  private async current(resource: ResourceName): Promise<readonly HeldLease[]> {
    const held: HeldLease[] = [];
    for (const lease of await this.using.store.of(resource)) {
      const verified = await this.verified(lease);
      if (verified !== undefined) held.push(verified);
    }
    return held.filter(({ version, token }) => !isWithdrawn(version, token.issuedAt, held));
  }

  /** Every lease that holds now. @throws as {@link StatementTrust.keys}. */
  async all(): Promise<readonly HeldLease[]> {
    const held: HeldLease[] = [];
    for (const resource of await this.resources()) held.push(...(await this.of(resource)));
    return held;
  }

  /** Root hashes of every version that a lease is kept of, whether it holds now or not. Unverified: good for keeping what they name, for nothing else. */
  async rootHashes(): Promise<ReadonlySet<string>> {
    return new Set((await this.everyLease()).map(({ grant }) => rootHashIn(grant.statement)));
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
    this.using.time.confirm(token.issuedAt);
    await this.refusals.assertPast(token.issuedAt);
    const name = nameOf(statement);
    if (!token.lease) return; // a person's, who does not see what the device has published for itself
    await this.dropWithdrawn(name.resource, token);
    if (this.isKept(name, token, answer.verified)) return;
    try {
      await this.keep(name, answer, token);
    } catch (error) {
      if (!(error instanceof ResourceError) || error.code !== 'resource.no-space') throw error;
    }
  }

  /**
   * Keeps a lease that was carried here, in a bundle, unless the Admin API has said something later about the same version: a grant that
   * was made after it, or a refusal. Taking the same one over again changes nothing.
   *
   * @param token - Verified, and for this device.
   * @throws ResourceError `resource.forbidden` when it was refused, or withdrawn, after it was made; `resource.no-space`.
   */
  async carried(answer: Omit<GrantAnswer, 'urls'>, statement: Statement, token: GrantToken): Promise<void> {
    this.using.time.raise(token.issuedAt);
    const name = nameOf(statement);
    const reason = await this.refusals.whyRefused(name, token.issuedAt);
    if (reason !== undefined) throw new ResourceError('resource.forbidden', reason);
    const held = await this.current(name.resource);
    if (isWithdrawn(name.version, token.issuedAt, held))
      throw new ResourceError('resource.forbidden', 'This version was withdrawn: a later grant on the device says so.');
    const later = held.filter(({ version }) => version > name.version);
    if (later.length >= MAX_PER_RESOURCE && !isAmong(this.wanted ?? [], name))
      throw new ResourceError('resource.forbidden', 'The device holds enough later versions of the resource.');
    const same = held.find(({ version }) => version === name.version);
    if (same !== undefined && same.token.issuedAt >= token.issuedAt) return;
    // Of the same content the verifier's word still holds, which a bundle does not carry.
    const verified = answer.verified || (same?.answer.verified === true && same.token.rootHash === token.rootHash);
    await this.keep(name, { ...answer, verified }, token);
  }

  /**
   * Forgets what the Admin API has refused just now, so that no bundle on the device brings it back.
   *
   * @param version - `undefined` for every version.
   */
  async refused(resource: ResourceName, version?: number): Promise<void> {
    const leases = (await this.using.store.of(resource)).filter((one) => (version ?? one.version) === one.version);
    if (leases.length === 0) return;
    // First: a power cut in between must not make it come back.
    await this.refusals.refused(resource, version, this.nowSeconds());
    for (const lease of leases) await this.drop(lease);
  }

  /** Forgets what has expired for certain: by the time that the Admin API signed, whatever the clock says. */
  async dropExpired(): Promise<void> {
    const nowSeconds = Math.floor(this.using.time.signedMs() / 1000);
    for (const lease of await this.everyLease()) {
      const token = (await this.verified(lease, 0))?.token;
      if (token !== undefined && token.notAfter <= nowSeconds) await this.drop(lease);
    }
  }

  /**
   * Forgets everything, for the device was revoked, so that no bundle on it brings anything back.
   *
   * @param serverMs - What the Admin API's answer says the time is, unsigned, where it does: a clock that starts in the past must not date the refusal.
   */
  async revoked(serverMs = 0): Promise<void> {
    await this.refusals.revoked(Math.max(this.nowSeconds(), Math.floor(serverMs / 1000)));
    for (const name of await this.using.store.names()) await this.drop(name);
  }

  /** Says which versions are wanted by their number: their leases make room for no others. Until it was said, none makes room. */
  want(versions: readonly (ResourceName & { readonly version: number })[]): void {
    this.wanted = versions;
  }

  /** How long a grant is worth waiting for. */
  patienceMs(): number {
    return this.using.time.monotonicMs() < this.doubtUntilMs ? 0 : PATIENCE_MS;
  }

  /** Takes note of whether the Admin API answered in time. */
  reached(inTime: boolean): void {
    this.doubtUntilMs = inTime ? 0 : this.using.time.monotonicMs() + DOUBT_MS;
  }

  private async keep(name: LeaseName, answer: Omit<GrantAnswer, 'urls'>, token: GrantToken): Promise<void> {
    const { resource } = name;
    const { grantId, statement, sealedRecipeKey, grantToken, verified } = answer;
    await this.using.time.keepFirst();
    await this.using.store.keep({ ...name, grant: { grantId, statement, grantToken, sealedRecipeKey, verified } });
    this.kept.set(leasePath(name), { token, verified });
    this.lastKept.set(resourcePath(resource), name.version);
    for (const { version } of await this.using.store.of(resource))
      if (version < token.minVersion) await this.drop({ resource, version });
    await this.makeRoom(name);
  }

  /** @param last - What was kept just now. */
  private async makeRoom(last: LeaseName): Promise<void> {
    const { wanted } = this;
    const kept = await this.using.store.of(last.resource);
    if (wanted === undefined || kept.length <= MAX_PER_RESOURCE) return;
    const pinned = await this.lastPinned(kept);
    const spare = kept.filter(
      ({ version }) => version !== last.version && version !== pinned && !isAmong(wanted, { ...last, version }),
    );
    const surplus = kept.length - MAX_PER_RESOURCE;
    for (const lease of spare.slice(Math.max(0, spare.length - surplus))) await this.drop(lease);
  }

  /** The version that was pinned when a grant last said so. */
  private async lastPinned(leases: readonly Lease[]): Promise<number | undefined> {
    let last: HeldLease | undefined;
    for (const lease of leases) {
      const held = await this.verified(lease, 0);
      if (held?.token.pinned === true && held.token.issuedAt >= (last?.token.issuedAt ?? 0)) last = held;
    }
    return last?.version;
  }

  /** What the newest version that the device may use says of those after it, which were granted before: they are withdrawn. */
  private async dropWithdrawn(resource: ResourceName, { latestVersion, issuedAt }: GrantToken): Promise<void> {
    for (const lease of await this.using.store.of(resource)) {
      if (lease.version <= latestVersion) return; // the highest version comes first
      const before = (await this.verified(lease, 0))?.token.issuedAt ?? 0;
      // An answer that was overtaken on its way knows nothing of a version that was granted after it.
      if (before >= issuedAt) continue;
      await this.refusals.refused(resource, lease.version, issuedAt);
      await this.drop(lease);
    }
  }

  private async drop(name: LeaseName): Promise<void> {
    this.kept.delete(leasePath(name));
    await this.using.store.drop(name);
  }

  private nowSeconds(): number {
    return Math.floor(this.using.time.nowMs() / 1000);
  }

  private isKept(
    name: LeaseName,
    { issuedAt, notAfter, statementHash, minVersion, latestVersion, pinned }: GrantToken,
    verified: boolean,
  ): boolean {
    const kept = this.kept.get(leasePath(name));
    const before = kept?.token;
    return (
      before !== undefined &&
      kept?.verified === verified &&
      before.statementHash === statementHash &&
      before.minVersion === minVersion &&
      before.latestVersion === latestVersion &&
      before.pinned === pinned &&
      this.lastKept.get(resourcePath(name.resource)) === name.version &&
      before.notAfter <= notAfter && // a shortened life counts at once
      issuedAt - before.issuedAt < (before.notAfter - before.issuedAt) * REWRITE_AFTER
    );
  }

  private async resources(): Promise<readonly ResourceName[]> {
    const names = await this.using.store.names();
    return [...new Map(names.map(({ resource }) => [resourcePath(resource), resource])).values()];
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

/** Whether a version of a grant of this moment is below the lowest, or above the newest, that another grant of the same resource knows; of the newest only a later one knows. */
function isWithdrawn(version: number, issuedAt: number, held: readonly HeldLease[]): boolean {
  return held.some(
    ({ token }) => version < token.minVersion || (version > token.latestVersion && issuedAt < token.issuedAt),
  );
}

function isAmong(versions: readonly (ResourceName & { readonly version: number })[], name: LeaseName): boolean {
  return versions.some(
    ({ folder, name: ownName, version }) =>
      folder === name.resource.folder && ownName === name.resource.name && version === name.version,
  );
}

function rootHashIn(statement: string): string {
  try {
    const text = Buffer.from(statement.split('.')[1] ?? '', 'base64url').toString('utf8');
    const { rootHash } = JSON.parse(text) as { readonly rootHash?: unknown };
    return typeof rootHash === 'string' ? rootHash : '';
  } catch {
    return '';
  }
}

function nameOf({ folder, resource, version }: Statement): LeaseName {
  return { resource: { folder, name: resource }, version };
}
