import type { HpkeSealed, SegmentKind } from '@azaion/crypto';
import type { ResourceName } from '@azaion/kernel';

import type { CompactedPack } from '../pack-extents.js';
import type { PackId } from '../pack.js';

/** What a reader asks for. */
export interface GrantRequest {
  readonly resource: ResourceName;
  /** `undefined` for the newest the caller may use. */
  readonly version: number | undefined;
  /** The reader's 65-byte public point. */
  readonly recipientPoint: Uint8Array;
  /** Fresh per request, base64url. */
  readonly nonce: string;
}

/** A grant as received. Nothing in it has been verified. */
export interface GrantAnswer {
  readonly grantId: string;
  /** Compact JWS. */
  readonly statement: string;
  /** Compact JWS. */
  readonly grantToken: string;
  readonly sealedRecipeKey: HpkeSealed;
  /** Signed URLs of the first packs; compacted ones are asked for. */
  readonly urls: readonly PackUrl[];
  /** Whether the Admin API's verifier has opened the whole version and found the hash that its publisher asserted. */
  readonly verified: boolean;
}

/** A signed URL of one pack. */
export interface PackUrl {
  readonly packId: PackId;
  readonly url: string;
  /** Where only a part of the pack is left. */
  readonly compacted?: CompactedPack;
}

/** Most packs one call of {@link GrantApi.packUrls} may name. */
export const MAX_PACK_URLS = 64;

/**
 * The Admin API as a reader sees it (F2), for one caller. Source: docs/reference/sealed-wire.md.
 * Every method throws ResourceError `api.unauthorized` | `api.forbidden` | `api.unreachable` | `api.unexpected` beside what it names;
 * those that take a grant's id also `api.grant-gone` once it has expired.
 */
export abstract class GrantApi {
  /** Asks for a grant. @throws ResourceError `resource.not-found` | `resource.forbidden`. */
  abstract grant(request: GrantRequest): Promise<GrantAnswer>;

  /**
   * Reads one sealed part of the recipe.
   *
   * @param maxBytes - Refuse anything longer.
   * @returns Unverified ciphertext.
   */
  abstract segment(grantId: string, kind: SegmentKind, index: number, maxBytes: number): Promise<Uint8Array>;

  /** Renews pack URLs, at most {@link MAX_PACK_URLS}. */
  abstract packUrls(grantId: string, packIds: readonly PackId[]): Promise<readonly PackUrl[]>;

  /**
   * Tells that a chunk did not open, twice, or that the CDN does not have its pack, or not as far as the chunk: the Admin API looks, and the next
   * publish replaces what is not as it should be. Who has nobody to tell leaves it.
   *
   * @param chunk - Index in the version, from 0.
   */
  // eslint-disable-next-line @typescript-eslint/no-unused-vars -- for who overrides it
  reportBadChunk(resource: ResourceName, version: number, chunk: number): Promise<void> {
    return Promise.resolve();
  }
}
