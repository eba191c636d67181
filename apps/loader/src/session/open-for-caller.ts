import type { Caller } from '@azaion/identity';
import type { Clock, ResourceName } from '@azaion/kernel';
import {
  type ChunkOpener,
  FetchResource,
  type HeldLease,
  type HeldLeases,
  LeasedContent,
  type LeasedPack,
  type LeaseUse,
  type OpenedResource,
  PackReader,
  type PackSource,
  type PackStore,
  ResourceError,
  type SegmentStore,
  type SparePacks,
  type StatementTrust,
} from '@azaion/split-resource';

import { type CallerApis, type DeviceRecipient, isDevice, recipientFor, type TokenBearer } from './caller-apis.js';
import type { CallerSessions } from './caller-sessions.js';
import { FolderAnswers, type FolderRight } from './folder-answers.js';
import { NoGrantApi } from './no-api.js';

/** What opening works with, the same for every caller. */
export interface OpeningDependencies {
  readonly apis: CallerApis;
  readonly sessions: CallerSessions;
  readonly device: (DeviceRecipient & { readonly authenticated: boolean }) | undefined;
  readonly trust: StatementTrust;
  readonly sources: readonly PackSource[];
  readonly store: PackStore;
  readonly segments: SegmentStore;
  readonly clock: Clock;
  readonly opener: ChunkOpener;
  /** What the device may open while the Admin API is out of reach; `undefined` where there is no device. */
  readonly leases?: HeldLeases | undefined;
  /** Waits for an answer of the Admin API where no lease may take its place. Default: as long as it takes. */
  readonly whileReached?: (<Answer>(answer: Promise<Answer>) => Promise<Answer>) | undefined;
}

/** One resource of a folder, for people to read. */
export interface ListedResource {
  readonly name: string;
  readonly kind: 'file' | 'images';
  /** The newest the caller may use; offline the newest that is leased. */
  readonly latestVersion: number;
  readonly totalBytes: number;
  /** Whether that version lies on this device and opens without any network. */
  readonly cached: boolean;
  /** Every version that does, the highest first. */
  readonly cachedVersions: readonly number[];
}

/** A leased version and how much of it lies on this device. */
export interface HeldResource extends ResourceName {
  readonly version: number;
  readonly kind: 'file' | 'images';
  /** Of the plaintext. */
  readonly totalBytes: number;
  /** Plaintext that opens without any network. */
  readonly presentBytes: number;
  /** Whether all of it does. */
  readonly complete: boolean;
  /** When it stops to, without the Admin API; seconds since 1970. */
  readonly leasedUntil: number;
}

/** How a resource is to be opened. */
export interface Opening {
  /** `undefined` for the newest. */
  readonly version?: number | undefined;
  /** `false` leaves the mark of the newest version where it is. */
  readonly movesMark?: boolean;
  /** Instead of what the caller's standing says. */
  readonly lease?: LeaseUse;
}

/** F2 for one caller at a time: the caller's token, the caller's key. Packs on the disk are shared; they are ciphertext. */
export class OpenForCaller {
  /** One for all callers: who asks for a pack that is on its way waits for it. */
  private readonly reader: PackReader;
  private readonly folders: FolderAnswers;
  private readonly content: LeasedContent | undefined;
  /** Of the leased versions whose recipes were read. */
  private packsOf: ReadonlyMap<string, readonly LeasedPack[]> = new Map();

  constructor(private readonly using: OpeningDependencies) {
    const { store, sources, segments, clock, leases } = using;
    this.reader = new PackReader(store, sources);
    this.folders = new FolderAnswers(clock);
    this.content = leases && new LeasedContent(leases, this.reader, segments);
  }

  /** @throws ResourceError | CryptoError | IdentityError. */
  newest(resource: ResourceName, bearer: TokenBearer, signal: AbortSignal): Promise<OpenedResource> {
    return this.open(resource, {}, bearer, signal);
  }

  /** An explicitly named version; it moves no mark. @throws as {@link newest}. */
  version(resource: ResourceName, version: number, bearer: TokenBearer, signal: AbortSignal): Promise<OpenedResource> {
    return this.open(resource, { version }, bearer, signal);
  }

  /** Like {@link newest} and {@link version}, for work in the background. @throws as {@link newest}. */
  async open(
    resource: ResourceName,
    opening: Opening,
    bearer: TokenBearer,
    signal: AbortSignal,
  ): Promise<OpenedResource> {
    const { apis, sessions, device, trust, segments, clock, opener, leases } = this.using;
    const { caller } = bearer;
    const recipient = await recipientFor(caller, sessions, device);
    const api = caller.local === true ? new NoGrantApi() : apis.grants(bearer, signal);
    const fetch = new FetchResource({ trust, segments, clock, opener, leases, api, reader: this.reader });
    const lease = opening.lease ?? this.leaseUse(caller, resource.folder, 'open');
    return this.asFolderAnswer(bearer, resource.folder, 'open', () => {
      const opened = fetch.run({ ...opening, resource, recipient, signal, lease });
      return lease === 'never' ? this.inTime(opened) : opened;
    });
  }

  /**
   * What a folder holds, as the Admin API tells this caller, and what of it is on this device. Offline: what is leased.
   *
   * @throws ResourceError.
   */
  async list(folder: string, bearer: TokenBearer): Promise<readonly ListedResource[]> {
    const held = await this.cached(folder, bearer);
    if (bearer.caller.local === true) return listed(held);
    try {
      const entries = await this.asFolderAnswer(bearer, folder, 'see', () =>
        this.inTime(this.using.apis.list(bearer, folder)),
      );
      return entries.map(({ name, kind, latestVersion, totalBytes }) => {
        const cachedVersions = held.get(name)?.map(({ version }) => version) ?? [];
        return {
          name,
          kind,
          latestVersion,
          totalBytes,
          cached: cachedVersions.includes(latestVersion),
          cachedVersions,
        };
      });
    } catch (error) {
      const offline = error instanceof ResourceError && error.code === 'api.unreachable';
      if (offline && this.leaseUse(bearer.caller, folder, 'see') !== 'never') return listed(held);
      throw error;
    }
  }

  /** The versions of a resource that lie on this device and open without any network, the highest first. */
  async completeVersions(resource: ResourceName): Promise<readonly number[]> {
    const { leases } = this.using;
    const complete: number[] = [];
    if (leases === undefined || this.content === undefined) return complete;
    for (const lease of await leases.of(resource))
      if (await this.content.isComplete(lease)) complete.push(lease.version);
    return complete;
  }

  /** What the device holds of what it has leases for, ordered by name, the highest version first. Looks at everything: ask for it seldom. */
  async held(): Promise<readonly HeldResource[]> {
    const { leases } = this.using;
    const found: HeldResource[] = [];
    if (leases === undefined || this.content === undefined) return found;
    for (const lease of await leases.all()) {
      const { folder, name } = lease.resource;
      const { kind, totalBytes } = lease.statement;
      const presentBytes = await this.content.presentBytes(lease);
      const complete = presentBytes === totalBytes && (totalBytes > 0 || (await this.content.isComplete(lease)));
      const leasedUntil = lease.token.notAfter;
      found.push({ folder, name, version: lease.version, kind, totalBytes, presentBytes, complete, leasedUntil });
    }
    return found.sort((left, right) => byName(left, right) || right.version - left.version);
  }

  /** Whether a caller may know what the device holds of a folder without asking the Admin API now. @param caller - Verified. */
  maySee(caller: Caller, folder: string): boolean {
    return this.leaseUse(caller, folder, 'see') !== 'never';
  }

  /** The packs that the device's leases need, as far as their recipes are here. */
  async leasedPacks(): Promise<readonly LeasedPack[]> {
    const { leases } = this.using;
    if (leases === undefined || this.content === undefined) return [];
    const known = new Map<string, readonly LeasedPack[]>();
    for (const lease of await leases.all()) {
      const { rootHash } = lease.statement;
      // A recipe never changes: opening it again would cost a TPM its time.
      const packs = this.packsOf.get(rootHash) ?? (await this.content.packs(lease));
      if (packs !== undefined) known.set(rootHash, packs);
    }
    this.packsOf = known;
    return [...known.values()].flat();
  }

  /** What the store keeps of packs that no lease needs, as far as their recipes are here: without the Admin API nobody can open it. */
  async unleased(): Promise<SparePacks> {
    const leased = new Set((await this.leasedPacks()).map(({ folderId, packId }) => `${folderId}/${packId}`));
    return this.using.store.spare((folderId, packId) => leased.has(`${folderId}/${packId}`));
  }

  /** A lease serves the device itself; a person as far as the Admin API let this very token do the same in the folder. */
  private leaseUse(caller: Caller, folder: string, right: FolderRight): LeaseUse {
    if (caller.local === true) return 'only';
    return isDevice(caller, this.using.device) || this.folders.allows(caller, folder, right) ? 'offline' : 'never';
  }

  private inTime<Answer>(answer: Promise<Answer>): Promise<Answer> {
    return this.using.whileReached?.(answer) ?? answer;
  }

  /** Takes note of what the Admin API's answer says about the caller. */
  private async asFolderAnswer<Answer>(
    { caller }: TokenBearer,
    folder: string,
    right: FolderRight,
    ask: () => Promise<Answer>,
  ): Promise<Answer> {
    const { sessions, device } = this.using;
    try {
      const answer = await ask();
      if (caller.local !== true) this.folders.allowed(caller, folder, right);
      return answer;
    } catch (error) {
      if (!(error instanceof ResourceError)) throw error;
      if (['api.unauthorized', 'api.forbidden', 'resource.forbidden'].includes(error.code))
        this.folders.refused(caller, folder);
      if (!isDevice(caller, device)) sessions.learn(caller, error, device?.authenticated ?? true);
      throw error;
    }
  }

  /** The complete versions of a folder's resources, the highest first. */
  private async cached(folder: string, { caller }: TokenBearer): Promise<ReadonlyMap<string, readonly HeldLease[]>> {
    const { leases, device } = this.using;
    const held = new Map<string, HeldLease[]>();
    if (leases === undefined || this.content === undefined) return held;
    for (const lease of await leases.all()) {
      const mayKnow = lease.statement.scope === 'fleet' || isDevice(caller, device);
      if (lease.resource.folder !== folder || !mayKnow || !(await this.content.isComplete(lease))) continue;
      held.set(lease.resource.name, [...(held.get(lease.resource.name) ?? []), lease]);
    }
    return held;
  }
}

function listed(held: ReadonlyMap<string, readonly HeldLease[]>): readonly ListedResource[] {
  const found: ListedResource[] = [];
  for (const [name, leases] of held) {
    const newest = leases[0];
    if (newest === undefined) continue;
    const { kind, version, totalBytes } = newest.statement;
    const cachedVersions = leases.map((lease) => lease.version);
    found.push({ name, kind, latestVersion: version, totalBytes, cached: true, cachedVersions });
  }
  return found.sort((left, right) => (left.name < right.name ? -1 : 1));
}

function byName(left: ResourceName, right: ResourceName): number {
  const [one, other] = [left, right].map(({ folder, name }) => `${folder}/${name}`) as [string, string];
  return one < other ? -1 : Number(one > other);
}
