import { type CatalogueEntry } from '@azaion/adapters/resource-api';
import { type Clock, type ResourceName } from '@azaion/kernel';
import {
  type ChunkOpener,
  FetchResource,
  type OpenedResource,
  PackReader,
  type PackSource,
  type PackStore,
  type SegmentStore,
  type StatementTrust,
} from '@azaion/split-resource';

import { type CallerApis, type DeviceRecipient, recipientFor, type TokenBearer } from './caller-apis.js';
import { type CallerSessions } from './caller-sessions.js';

/** What opening works with, the same for every caller. */
export interface OpeningDependencies {
  readonly apis: CallerApis;
  readonly sessions: CallerSessions;
  readonly device: DeviceRecipient | undefined;
  readonly trust: StatementTrust;
  readonly sources: readonly PackSource[];
  readonly store: PackStore;
  readonly segments: SegmentStore;
  readonly clock: Clock;
  readonly opener: ChunkOpener;
}

/** F2 for one caller at a time: the caller's token, the caller's key. Packs on the disk are shared; they are ciphertext. */
export class OpenForCaller {
  /** One for all callers: who asks for a pack that is on its way waits for it. */
  private readonly reader: PackReader;

  constructor(private readonly using: OpeningDependencies) {
    this.reader = new PackReader(using.store, using.sources);
  }

  /** @throws ResourceError | CryptoError | IdentityError. */
  newest(resource: ResourceName, bearer: TokenBearer, signal: AbortSignal): Promise<OpenedResource> {
    return this.open(resource, undefined, bearer, signal);
  }

  /** An explicitly named version; it moves no mark. @throws as {@link newest}. */
  version(resource: ResourceName, version: number, bearer: TokenBearer, signal: AbortSignal): Promise<OpenedResource> {
    return this.open(resource, version, bearer, signal);
  }

  /** What a folder holds, as the Admin API tells this caller. @throws ResourceError. */
  list(folder: string, bearer: TokenBearer): Promise<readonly CatalogueEntry[]> {
    return this.using.apis.list(bearer, folder);
  }

  private async open(
    resource: ResourceName,
    version: number | undefined,
    bearer: TokenBearer,
    signal: AbortSignal,
  ): Promise<OpenedResource> {
    const { apis, sessions, device, ...parts } = this.using;
    const recipient = await recipientFor(bearer.caller, sessions, device);
    const fetch = new FetchResource({ ...parts, reader: this.reader, api: apis.grants(bearer, signal) });
    return fetch.run({ resource, version, recipient, signal });
  }
}
