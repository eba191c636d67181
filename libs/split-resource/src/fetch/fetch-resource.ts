import { type Statement } from '@azaion/crypto';
import { type ByteRange, type Clock, type ResourceName } from '@azaion/kernel';

import { type GrantApi } from '../ports/grant-api.js';
import { type PackSource } from '../ports/pack-source.js';
import { type PackStore } from '../ports/pack-store.js';
import { type SegmentStore } from '../ports/segment-store.js';
import { type Recipient } from './recipient.js';
import { type StatementTrust } from './statement-trust.js';

/** What to fetch, and for whom. */
export interface FetchRequest {
  readonly resource: ResourceName;
  /** `undefined` for the newest. */
  readonly version?: number | undefined;
  readonly recipient: Recipient;
  readonly signal?: AbortSignal | undefined;
}

/** Running totals of one read. */
export interface FetchProgress {
  /** Plaintext bytes handed out. */
  readonly openedBytes: number;
  /** Sealed bytes that came over the network. */
  readonly downloadedBytes: number;
  /** Sealed bytes that were there already. */
  readonly cachedBytes: number;
}

/** One version, verified and ready to be read. */
export interface OpenedResource {
  readonly statement: Statement;
  /** Strong entity tag: `"{version}-{rootHash}"`. */
  readonly etag: string;
  /** SHA-256 of the whole plaintext as the publisher asserted it inside the sealed root; undefined until the API has verified the version. */
  readonly sha256: Uint8Array;
  /**
   * Opens a range of the plaintext; without one, everything.
   *
   * @returns Plaintext in order; every byte was authenticated before it is yielded. Stop iterating to stop the work behind it.
   * @throws ResourceError `resource.range-invalid` | `resource.integrity` | `resource.no-space` | `cdn.missing` | `cdn.unavailable`; nothing of a bad chunk is yielded.
   */
  read(range?: ByteRange, onProgress?: (progress: FetchProgress) => void, signal?: AbortSignal): AsyncIterable<Buffer>;
}

/** What {@link FetchResource} works with. */
export interface FetchDependencies {
  readonly api: GrantApi;
  readonly trust: StatementTrust;
  /** Tried in order for what the store does not hold: pre-deployed directories first, the CDN last. */
  readonly sources: readonly PackSource[];
  readonly store: PackStore;
  readonly segments: SegmentStore;
  readonly clock: Clock;
}

/** F2: opens one version of a resource for one caller. Source: docs/formats/sealed-resource.md, "Fetch". */
export class FetchResource {
  constructor(private readonly using: FetchDependencies) {}

  /** @throws ResourceError | CryptoError; see their codes. */
  run(request: FetchRequest): Promise<OpenedResource> {
    throw new Error(`to be written: ${request.resource.name} ${String(this.using)}`);
  }
}
