import { randomBytes } from 'node:crypto';

import {
  assertInScope,
  CryptoError,
  openRecipeKey,
  type Statement,
  type StatementKeys,
  verifyGrantToken,
  verifyStatement,
} from '@azaion/crypto';
import { type ByteRange, type Clock, type ResourceName, toBase64Url } from '@azaion/kernel';

import { DEFAULT_RETRY, repeatWhileUnreachable, type RetryPolicy } from '../backoff.js';
import { type ChunkOpener, InlineChunkOpener } from '../chunk-work.js';
import { ResourceError } from '../errors.js';
import type { GrantAnswer, GrantApi } from '../ports/grant-api.js';
import type { PlaintextFile } from '../ports/plaintext-file.js';
import type { HeldLeases } from '../leases/held-leases.js';
import type { SegmentStore } from '../ports/segment-store.js';
import { Recipe } from '../recipe/recipe.js';
import { assertRoom } from './assert-room.js';
import { HeldGrant } from './held-grant.js';
import { LeasedContent } from './leased-content.js';
import { LeasedGrant } from './leased-grant.js';
import { type FetchProgress, OpenRange } from './open-range.js';
import type { PackReader } from './pack-reader.js';
import { PackUrls } from './pack-urls.js';
import type { Recipient } from './recipient.js';
import { segmentsOf } from './segment-cache.js';
import type { StatementTrust } from './statement-trust.js';

/** How often the first grant is asked for while the Admin API is out of reach: somebody waits for the answer, or a lease could be used. */
const FIRST_GRANT_ATTEMPTS = 3;

/** What to fetch, and for whom. */
export interface FetchRequest {
  readonly resource: ResourceName;
  /** `undefined` for the newest. */
  readonly version?: number | undefined;
  readonly recipient: Recipient;
  readonly signal?: AbortSignal | undefined;
  /**
   * Whether a lease of this device may serve the request: `offline`, when the Admin API cannot be reached; `only`, without asking it at
   * all; `never`. Default: `offline` for the device itself, `never` for others. A lease opens for others what the whole fleet may read.
   */
  readonly lease?: LeaseUse | undefined;
  /** `false` leaves the mark of the newest version where it is: the caller moves it once the version is complete. */
  readonly movesMark?: boolean | undefined;
}

/** @see FetchRequest.lease */
export type LeaseUse = 'offline' | 'only' | 'never';

/** One version, verified and ready to be read. */
export interface OpenedResource {
  readonly statement: Statement;
  /** Strong entity tag: `"{version}-{rootHash}"`. */
  readonly etag: string;
  /** SHA-256 of the whole plaintext as the publisher asserted it inside the sealed root. Nothing here has compared it with the plaintext. */
  readonly sha256: Uint8Array;
  /** Whether the Admin API says that its verifier has compared it. */
  readonly verified: boolean;
  /**
   * For whoever wants it to stay on this device: checks, before anything is fetched, that all of it can, whatever else has to go for it. A
   * read alone needs no such room: it goes through the store.
   *
   * @throws ResourceError `resource.no-space`, and those of a read of the recipe.
   */
  assertRoom(): Promise<void>;
  /**
   * Opens a range of the plaintext; without one, everything.
   *
   * @returns Plaintext in order; every byte was authenticated before it is yielded. Stop iterating to stop the work behind it.
   * @throws ResourceError `resource.range-invalid` | `resource.integrity` | `resource.no-space` | `cdn.missing` | `cdn.unavailable`; nothing of a bad chunk is yielded.
   */
  read(range?: ByteRange, onProgress?: (progress: FetchProgress) => void, signal?: AbortSignal): AsyncIterable<Buffer>;
  /**
   * Opens everything into a file, which is cheaper than {@link read}: whoever opens a chunk writes it to its place. What is written was
   * authenticated before; the file is complete only when this returns, and nobody writes into it any more when this returns or throws.
   *
   * @throws as {@link read}; Error of the system when the file cannot be written to.
   */
  writeTo(file: PlaintextFile, onProgress?: (progress: FetchProgress) => void, signal?: AbortSignal): Promise<void>;
}

/** What {@link FetchResource} works with. */
export interface FetchDependencies {
  readonly api: GrantApi;
  readonly trust: StatementTrust;
  /** Given to several instances, they share its downloads and its memory. */
  readonly reader: PackReader;
  readonly segments: SegmentStore;
  readonly clock: Clock;
  /** Default: on the calling thread. */
  readonly opener?: ChunkOpener;
  /** For calls to the Admin API once a grant was given. */
  readonly retry?: RetryPolicy;
  /** What this device may open without the Admin API. */
  readonly leases?: HeldLeases | undefined;
}

interface VerifiedGrant {
  readonly answer: GrantAnswer;
  readonly statement: Statement;
  /** Whose key the recipe key is sealed to. */
  readonly recipient: Recipient;
  /** Whether it was kept on the device: the Admin API is probably out of reach. */
  readonly leased: boolean;
  /** Whether an administrator has pinned the resource to this version. */
  readonly pinned?: boolean;
}

/** F2: opens one version of a resource for one caller. Source: docs/formats/sealed-resource.md, "Fetch". */
export class FetchResource {
  private readonly opener: ChunkOpener;

  constructor(private readonly using: FetchDependencies) {
    this.opener = using.opener ?? new InlineChunkOpener();
  }

  /**
   * @throws ResourceError `resource.rollback-refused` | `resource.integrity` | `recipe.invalid` | `resource.unsupported-format`, and those of
   *   {@link GrantApi}; CryptoError `statement.*` | `grant.*` | `segment.invalid`.
   */
  async run(request: FetchRequest): Promise<OpenedResource> {
    const { trust, segments } = this.using;
    const { version } = request;
    const found = await this.grantedOrLeased(request);
    const { answer, statement, recipient, pinned } = found;
    const { folderId, resourceId, rootHash } = statement;
    const older = version === undefined && statement.version < (await trust.highestVersion(folderId, resourceId));
    if (older && pinned !== true)
      throw new ResourceError(
        'resource.rollback-refused',
        'The Admin API offers an older version than was used here before: ask for that version by its number if it is wanted.',
        { details: { version: statement.version } },
      );
    const { sealedRecipeKey, grantToken } = answer;
    const recipeKey = await openRecipeKey(sealedRecipeKey, recipient.point, recipient.ecdh, grantToken, rootHash);
    const place = { folderId, resourceId, version: statement.version };
    const grant = this.held(found, { ...request, version: statement.version });
    const recipe = await Recipe.open(place, recipeKey, segmentsOf(rootHash, grant, segments), rootHash);
    if (recipe.root.totalBytes !== statement.totalBytes)
      throw new ResourceError('resource.integrity', 'The recipe and the statement of this version disagree.');
    if (version === undefined && request.movesMark !== false)
      await trust.accept(folderId, resourceId, statement.version);
    return this.opened(found, recipe, new PackUrls(grant, answer.urls), request.signal);
  }

  private get retry(): RetryPolicy {
    return this.using.retry ?? DEFAULT_RETRY;
  }

  /** A grant if the Admin API gives one in time, else a lease, where one may serve. */
  private async grantedOrLeased(request: FetchRequest): Promise<VerifiedGrant> {
    const { leases } = this.using;
    const use = request.lease ?? (request.recipient.serial === undefined ? 'never' : 'offline');
    if (leases === undefined || use === 'never') return this.grantedInTheEnd(request);
    const content = new LeasedContent(leases, this.using.reader, this.using.segments);
    const leased = new LeasedGrant(leases, this.using.trust, content);
    if (use === 'offline') return leased.unlessGranted(() => this.grantedInTheEnd(request), request);
    const found = await leased.find(request);
    if (found !== undefined) return found;
    throw new ResourceError('resource.forbidden', 'This device holds no lease that opens this resource now.');
  }

  /** A server of the Admin API that ends in the middle of a call must not fail what another one would answer. */
  private grantedInTheEnd(request: FetchRequest): Promise<VerifiedGrant> {
    const attempts = Math.min(this.retry.attempts, FIRST_GRANT_ATTEMPTS);
    return repeatWhileUnreachable(() => this.granted(request), { ...this.retry, attempts }, signalOf(request));
  }

  /** Asks for a grant and verifies statement and token. */
  private async granted(request: FetchRequest): Promise<VerifiedGrant> {
    const { api, trust } = this.using;
    const { recipient, resource, version } = request;
    const nonce = toBase64Url(randomBytes(32));
    const answer = await api.grant({ resource, version, recipientPoint: recipient.point, nonce });
    request.signal?.throwIfAborted();
    try {
      return await this.verified(answer, request, nonce, await trust.keys());
    } catch (error) {
      if (!(error instanceof CryptoError) || error.code !== 'statement.key-unknown') throw error;
    }
    // A signing key that is not known yet, of the statement or of the token, may be newer than the key document at hand.
    return this.verified(answer, request, nonce, await trust.keys(true));
  }

  private async verified(
    answer: GrantAnswer,
    request: FetchRequest,
    nonce: string,
    keys: StatementKeys,
  ): Promise<VerifiedGrant> {
    const { recipient } = request;
    const statement = await verifyStatement(answer.statement, keys);
    assertAskedFor(statement, request);
    assertInScope(statement, recipient.serial);
    const token = await verifyGrantToken(answer.grantToken, keys, {
      statement,
      statementJws: answer.statement,
      recipientPoint: recipient.point,
      nonce,
      nowSeconds: Math.floor(this.using.clock.nowMs() / 1000),
    });
    await this.using.leases?.granted(answer, statement, token);
    return { answer, statement, recipient, leased: false, pinned: token.pinned === true };
  }

  /** @param exactly - The request with the number of the version that was granted. */
  private held({ answer: first, statement, leased }: VerifiedGrant, exactly: FetchRequest): HeldGrant {
    return new HeldGrant(this.using.api, first.grantId, {
      renew: async () => {
        const renewed = await this.granted(exactly);
        // A statement may have been signed anew meanwhile, for the fleet for instance; what it stands for is the same.
        if (renewed.statement.rootHash !== statement.rootHash) throw anotherVersion();
        return renewed.answer.grantId;
      },
      // What is not on the device cannot be had from an API that is out of reach: no use in waiting for it.
      retry: leased ? { ...this.retry, attempts: 1 } : this.retry,
      signal: signalOf(exactly),
    });
  }

  private opened(
    { answer, statement }: VerifiedGrant,
    recipe: Recipe,
    urls: PackUrls,
    lifetime: AbortSignal | undefined,
  ): OpenedResource {
    const { folder, resource: name, version } = statement;
    const context = {
      recipe,
      urls,
      reader: this.using.reader,
      opener: this.opener,
      reportBadChunk: (chunk: number) => this.using.api.reportBadChunk({ folder, name }, version, chunk),
    };
    const begun = (
      wanted: ByteRange,
      onProgress: ((progress: FetchProgress) => void) | undefined,
      signal: AbortSignal | undefined,
      file?: PlaintextFile,
    ): OpenRange => {
      const signals = [lifetime, signal].filter((one) => one !== undefined);
      return new OpenRange(context, wanted, onProgress, signals, file);
    };
    const whole = { start: 0, end: statement.totalBytes };
    return {
      statement,
      etag: `"${statement.version}-${statement.rootHash}"`,
      sha256: recipe.root.sha256,
      verified: answer.verified,
      assertRoom: () => assertRoom(recipe, this.using.reader),
      read: (range, onProgress, signal) => {
        const wanted = range ?? whole;
        assertInside(wanted, statement.totalBytes);
        return begun(wanted, onProgress, signal).plaintext();
      },
      writeTo: (file, onProgress, signal) => begun(whole, onProgress, signal, file).write(),
    };
  }
}

function assertAskedFor(statement: Statement, { resource, version }: FetchRequest): void {
  if (
    statement.folder === resource.folder &&
    statement.resource === resource.name &&
    (version === undefined || statement.version === version)
  )
    return;
  throw anotherVersion();
}

function anotherVersion(): CryptoError {
  return new CryptoError(
    'grant.not-for-statement',
    'The Admin API answered with another resource or version than was asked for.',
  );
}

function assertInside({ start, end }: ByteRange, totalBytes: number): void {
  if (Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start <= end && end <= totalBytes)
    return;
  throw new ResourceError(
    'resource.range-invalid',
    `The range lies outside of the ${totalBytes} bytes of this version.`,
    {
      details: { totalBytes },
    },
  );
}

/** The request's, or one that never fires. */
function signalOf({ signal }: FetchRequest): AbortSignal {
  return signal ?? new AbortController().signal;
}
