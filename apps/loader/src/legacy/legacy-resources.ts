import { LEGACY_RESOURCE_KEY, legacyAesKey, type ResourceKind } from '@azaion/crypto';
import { isValidName, type ResourceName } from '@azaion/kernel';
import {
  type KnownLegacyParts,
  type LegacyBigParts,
  OpenLegacyResource,
  PublishLegacyResource,
  type PublishResult,
  ResourceError,
} from '@azaion/split-resource';

import type { ServableResource } from '../http/entity-headers.js';
import type { TokenBearer } from '../session/caller-apis.js';
import type { ListedResource } from '../session/open-for-caller.js';
import type { LegacyAccounts } from './legacy-accounts.js';

/** The format knows no versions: whatever is there is this one. */
const ONLY_VERSION = 1;
const SMALL_SUFFIX = '.small';
/** Of a look at the disk, which takes no time. */
const NEVER = new AbortController().signal;

/** One file of a folder of the older format, for people to read. */
export interface ListedLegacyResource extends Omit<ListedResource, 'totalBytes'> {
  /** Nobody knows. */
  readonly totalBytes: null;
}

/** F2 in the older protocol, for one caller at a time. In place of `OpenForCaller`. */
export class OpenLegacyForCaller {
  private readonly aesKey = legacyAesKey(LEGACY_RESOURCE_KEY);

  /**
   * @param local - Big parts on the device, asked before the CDN.
   * @param known - What this process has learned about parts; the publisher's too.
   */
  constructor(
    private readonly accounts: LegacyAccounts,
    private readonly local: LegacyBigParts,
    private readonly known: KnownLegacyParts,
  ) {}

  /** @throws ResourceError | CryptoError | IdentityError. */
  async newest(resource: ResourceName, bearer: TokenBearer, signal: AbortSignal): Promise<ServableResource> {
    const { api, cdn } = this.accounts.of(bearer.caller.sessionId);
    const { local, aesKey, known } = this;
    const opened = await new OpenLegacyResource({ smalls: api, local, cdn, aesKey, known }).run(resource, signal);
    return {
      statement: { version: ONLY_VERSION, totalBytes: opened.totalBytes },
      etag: opened.etag,
      sha256: new Uint8Array(),
      verified: false,
      read: (range, _onProgress, readSignal) => opened.read(range, readSignal ?? signal),
    };
  }

  /** @throws as {@link newest}. */
  version(
    resource: ResourceName,
    version: number,
    bearer: TokenBearer,
    signal: AbortSignal,
  ): Promise<ServableResource> {
    if (version === ONLY_VERSION) return this.newest(resource, bearer, signal);
    return Promise.reject(
      new ResourceError('resource.not-found', 'The older Admin API keeps no versions: leave the version out.'),
    );
  }

  /** What a folder holds. How long a file is, the older protocol tells to nobody who has not opened it: `null`. */
  async list(folder: string, bearer: TokenBearer): Promise<readonly ListedLegacyResource[]> {
    const listed = await this.accounts.of(bearer.caller.sessionId).api.list(folder);
    const names = listed
      .filter((name) => name.endsWith(SMALL_SUFFIX))
      .map((name) => name.slice(0, -SMALL_SUFFIX.length));
    const resources: ListedLegacyResource[] = [];
    for (const name of names) {
      const cached = isValidName(name) && (await this.isHere({ folder, name }));
      resources.push({
        name,
        kind: 'file',
        latestVersion: ONLY_VERSION,
        totalBytes: null,
        cached,
        cachedVersions: cached ? [ONLY_VERSION] : [],
      });
    }
    return resources;
  }

  /** A local part that is of no use is as good as none. */
  private async isHere(resource: ResourceName): Promise<boolean> {
    try {
      return (await this.local.find(resource, NEVER)) !== undefined;
    } catch (error) {
      if (error instanceof ResourceError) return false;
      throw error;
    }
  }
}

/** F3 in the older protocol, for one caller at a time. In place of `PublishForCaller`. */
export class PublishLegacyForCaller {
  private readonly aesKey = legacyAesKey(LEGACY_RESOURCE_KEY);

  constructor(
    private readonly accounts: LegacyAccounts,
    private readonly maxBytes: number,
    private readonly known: KnownLegacyParts,
  ) {}

  /** @throws ResourceError | IdentityError; what the content throws. */
  async run(
    resource: ResourceName,
    _kind: ResourceKind,
    content: AsyncIterable<Buffer>,
    bearer: TokenBearer,
    signal: AbortSignal,
  ): Promise<PublishResult> {
    const { api, cdn, sink } = this.accounts.of(bearer.caller.sessionId);
    const { aesKey, known } = this;
    const publish = new PublishLegacyResource({ smalls: api, sink, cdn, aesKey, known });
    const { bytes, uploadedBytes } = await publish.run({ resource, content, maxBytes: this.maxBytes, signal });
    return {
      version: ONLY_VERSION,
      created: true,
      bytes,
      uploadedBytes,
      newBytes: bytes,
      dedupedBytes: 0,
      recipeBytes: 0,
      readBytes: bytes,
    };
  }
}
