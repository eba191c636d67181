import { hash, randomBytes, randomUUID, webcrypto } from 'node:crypto';

import {
  deriveChunkId,
  deriveChunkKey,
  DRAFT_VERSION,
  recipientThumbprint,
  type KeyDocument,
  type PublicJwk,
  type SegmentKind,
  sealRecipeKey,
  signGrantToken,
  type SigningKey,
  signKeyDocument,
  signStatement,
  type Statement,
  statementHash,
  StatementKeys,
  type VerificationKey,
} from '@azaion/crypto';
import {
  type ByteRange,
  type Clock,
  concatBytes,
  equalBytes,
  type ResourceName,
  resourcePath,
  SystemClock,
  toHex,
} from '@azaion/kernel';

import { CHUNKING, type ChunkingParameters } from '../chunker.js';
import { ResourceError } from '../errors.js';
import { MAX_CHUNKS_PER_PACK, PACK_TARGET_BYTES, type PackId, packObjectKey, type PackRef } from '../pack.js';
import { type GrantAnswer, GrantApi, type GrantRequest, MAX_PACK_URLS, type PackUrl } from '../ports/grant-api.js';
import type { PackTarget } from '../ports/pack-sink.js';
import {
  type CommitRequest,
  type KnownChunk,
  MAX_KNOWN_CHUNK_IDS,
  type NewPack,
  type OpenedUpload,
  type PackedChunk,
  UploadApi,
} from '../ports/upload-api.js';
import { Recipe, verifyRecipe } from '../recipe/recipe.js';
import { resealRecipe } from '../recipe/reseal-recipe.js';
import { type CompactedPack, extentsOf } from '../pack-extents.js';
import { type PackObject, readPack } from '../pack-object.js';
import { CheckContent } from '../verify/check-content.js';
import { signedPutOf } from '../signed-put.js';
import type { InMemoryObjectStore } from './in-memory-object-store.js';

const URL_SECONDS = 900;
const LEASE_SECONDS = 7 * 86_400;

/** How an {@link InMemoryAdminApi} behaves; every member has a default. */
export interface InMemoryAdminApiOptions {
  readonly clock?: Clock;
  readonly chunking?: ChunkingParameters;
  readonly packTargetBytes?: number;
}

interface Version {
  readonly statement: Statement;
  readonly statementJws: string;
  readonly recipeKey: Uint8Array;
  readonly segments: ReadonlyMap<string, Uint8Array>;
  readonly contentHash: string;
  readonly packIds: readonly PackId[];
  /** Whether a chunk of it turned out damaged. */
  bad: boolean;
}

interface Upload {
  readonly opened: OpenedUpload;
  readonly name: ResourceName;
  readonly packs: Map<PackId, NewPack>;
  readonly segments: Map<string, Uint8Array>;
  committed: { readonly version: number; readonly created: boolean } | undefined;
}

/** The state of a small Admin API: one folder, one caller at a time, real seals and signatures, no network. */
export class InMemoryAdminApi {
  readonly folderId = randomUUID();
  readonly dedupKey = randomBytes(32);
  /** Scope that statements of later commits get. */
  scope = 'fleet';
  /** User id of who opens, commits and asks from now on. */
  publisher: string = randomUUID();
  /** Versions below this one are withdrawn for good. */
  minVersion = 0;
  /** The version that requests without one get instead of the newest, on an administrator's word. */
  pinned: number | undefined;
  /** Whether the verifier has passed what is granted. */
  verified = false;
  /** What every part of a recipe that was read is put on, in order: `kind/index`. */
  readonly segmentsRead: string[] = [];

  private readonly clock: Clock;
  private readonly resources = new Map<string, { readonly resourceId: string; readonly versions: Version[] }>();
  private readonly uploads = new Map<string, Upload>();
  /** Newest first. */
  private readonly known = new Map<string, KnownChunk[]>();
  private readonly grants = new Map<string, Version>();
  private readonly compacted = new Map<PackId, CompactedPack & { readonly key: string }>();
  private readonly namedKeys: KeyDocument['keys'][number][] = [];

  private constructor(
    readonly objects: InMemoryObjectStore,
    private readonly options: InMemoryAdminApiOptions,
    private readonly rootKey: { readonly signing: SigningKey; readonly verification: VerificationKey },
    private statementKey: { readonly signing: SigningKey; readonly publicJwk: webcrypto.JsonWebKey },
    private keyDocument: string,
  ) {
    this.clock = options.clock ?? new SystemClock();
  }

  /** Makes an API with keys of its own. */
  static async create(objects: InMemoryObjectStore, options: InMemoryAdminApiOptions = {}): Promise<InMemoryAdminApi> {
    const root = await newSigningKey('root-1');
    const api = new InMemoryAdminApi(
      objects,
      options,
      { signing: root.signing, verification: { kid: 'root-1', publicKey: root.publicKey } },
      root,
      '',
    );
    await api.rotateStatementKey();
    return api;
  }

  /** Signs from now on with a new key, which a new key document names beside the older ones. */
  async rotateStatementKey(): Promise<void> {
    const version = this.keyDocument === '' ? 1 : (await this.statementKeys()).version + 1;
    this.statementKey = await newSigningKey(`statement-${version}`);
    const { kty, crv, x, y } = this.statementKey.publicJwk;
    const key = { kty, crv, x, y } as PublicJwk;
    this.namedKeys.push({ kid: this.statementKey.signing.kid, alg: 'ES256', key });
    await this.signKeyDocument(version);
  }

  /** Leaves nothing of a pack but these ranges, in an object of another name. The older object stays. */
  async compactPack(pack: Pick<PackRef, 'packId' | 'sizeBytes'>, kept: Iterable<ByteRange>): Promise<void> {
    const extents = extentsOf(kept);
    const parts: Uint8Array[] = [];
    for (const extent of extents) parts.push(await readPack(this.objects, this.objectOf(pack.packId), extent));
    const bytes = concatBytes(...parts);
    const key = packObjectKey(this.folderId, toHex(randomBytes(16)));
    await this.objects.write(key, bytes);
    this.compacted.set(pack.packId, { key, extents, sha256: hash('sha256', bytes, 'buffer') });
  }

  /** Takes all statement keys but the newest out of the key document: what they signed is no longer trusted. */
  async retireOlderStatementKeys(): Promise<void> {
    this.namedKeys.splice(0, this.namedKeys.length - 1);
    await this.signKeyDocument((await this.statementKeys()).version + 1);
  }

  /** Ends every grant, as passing time would. */
  expireGrants(): void {
    this.grants.clear();
  }

  /** The verified key document. */
  statementKeys(): Promise<StatementKeys> {
    return StatementKeys.verify(this.keyDocument, this.rootKey.verification, 0, this.nowSeconds());
  }

  /** The newest version's number, 0 for none. */
  latestVersion(name: ResourceName): number {
    return this.resources.get(resourcePath(name))?.versions.length ?? 0;
  }

  /** Hides the newest versions, as a compromised replica or a restored backup would. */
  forgetVersionsAfter(name: ResourceName, version: number): void {
    this.resources.get(resourcePath(name))?.versions.splice(version);
  }

  open(name: ResourceName): OpenedUpload {
    const resource = this.resources.get(resourcePath(name)) ?? { resourceId: randomUUID(), versions: [] };
    this.resources.set(resourcePath(name), resource);
    const opened: OpenedUpload = {
      uploadId: randomUUID(),
      folderId: this.folderId,
      resourceId: resource.resourceId,
      domain: 0,
      dedupKey: this.dedupKey,
      chunking: this.options.chunking ?? CHUNKING,
      packTargetBytes: this.options.packTargetBytes ?? PACK_TARGET_BYTES,
      packMd5: this.objects.needsMd5,
      expiresAt: this.nowSeconds() + 86_400,
    };
    this.uploads.set(opened.uploadId, {
      opened,
      name,
      packs: new Map(),
      segments: new Map(),
      committed: undefined,
    });
    return opened;
  }

  async knownChunks(uploadId: string, ids: readonly string[]): Promise<readonly KnownChunk[]> {
    this.upload(uploadId);
    if (ids.length === 0 || ids.length > MAX_KNOWN_CHUNK_IDS)
      throw new ResourceError('api.unexpected', 'Too many ids, or none.');
    const known: KnownChunk[] = [];
    for (const id of ids) {
      for (const chunk of this.known.get(id) ?? []) {
        const object = await this.objects.head(packObjectKey(this.folderId, chunk.packId));
        if (object?.sizeBytes !== chunk.packSizeBytes) continue;
        known.push(chunk);
        break;
      }
    }
    return known;
  }

  async addPack(uploadId: string, pack: NewPack): Promise<{ packId: PackId; target: PackTarget }> {
    const upload = this.upload(uploadId);
    const content = signedPutOf(pack, this.objects);
    const packId = toHex(randomBytes(16));
    upload.packs.set(packId, pack);
    const target = await this.objects.signPut(packObjectKey(this.folderId, packId), content, URL_SECONDS);
    return { packId, target };
  }

  putChunkTable(uploadId: string, packId: PackId, chunks: readonly PackedChunk[]): void {
    const pack = this.upload(uploadId).packs.get(packId);
    if (pack === undefined) throw new ResourceError('upload.not-found', 'There is no such pack in this upload.');
    if (chunks.length > MAX_CHUNKS_PER_PACK) throw new ResourceError('upload.refused', 'The chunk table is too long.');
    for (const { id, offset, sealedBytes } of chunks) {
      const chunk: KnownChunk = {
        id: toHex(id),
        packId,
        packSizeBytes: pack.sizeBytes,
        packSha256: pack.sha256,
        offset,
        sealedBytes,
      };
      this.known.set(chunk.id, [chunk, ...(this.known.get(chunk.id) ?? [])]);
    }
  }

  putSegment(uploadId: string, kind: SegmentKind, index: number, sealed: Uint8Array): void {
    this.upload(uploadId).segments.set(`${kind}/${index}`, new Uint8Array(sealed));
  }

  async commit(uploadId: string, request: CommitRequest): Promise<{ version: number; created: boolean }> {
    const upload = this.upload(uploadId);
    upload.committed ??= await this.commitOnce(upload, request);
    return upload.committed;
  }

  /** Packs that later known-chunks no longer offer, and commits refuse: as if they had been collected. */
  async collect(packId: PackId): Promise<void> {
    this.forget((chunk) => chunk.packId === packId);
    await this.objects.delete(packObjectKey(this.folderId, packId));
  }

  abandon(uploadId: string): void {
    this.uploads.delete(uploadId);
  }

  async grant(request: GrantRequest): Promise<GrantAnswer> {
    const versions = this.resources.get(resourcePath(request.resource))?.versions ?? [];
    const version = versions.at((request.version ?? this.pinned ?? 0) - 1);
    if (version === undefined) throw new ResourceError('resource.not-found', 'There is no such resource.');
    const { statement, statementJws, recipeKey, packIds } = version;
    const grantId = randomUUID();
    this.grants.set(grantId, version);
    const grantToken = await signGrantToken(
      {
        grantId,
        statementHash: statementHash(statementJws),
        rootHash: statement.rootHash,
        subject: this.publisher,
        recipient: recipientThumbprint(request.recipientPoint),
        issuedAt: this.nowSeconds(),
        notAfter: this.nowSeconds() + LEASE_SECONDS,
        latestVersion: versions.length,
        minVersion: this.minVersion,
        nonce: request.nonce,
        lease: true,
        ...(this.pinned === statement.version ? { pinned: true as const } : {}),
      },
      this.statementKey.signing,
    );
    const rootHash = Buffer.from(statement.rootHash, 'hex');
    return {
      grantId,
      statement: statementJws,
      grantToken,
      sealedRecipeKey: await sealRecipeKey(recipeKey, rootHash, request.recipientPoint, grantToken),
      urls: await this.packUrls(
        grantId,
        packIds.slice(0, 2).filter((packId) => !this.compacted.has(packId)),
      ),
      verified: this.verified,
    };
  }

  segment(grantId: string, kind: SegmentKind, index: number): Uint8Array {
    this.segmentsRead.push(`${kind}/${index}`);
    const sealed = this.granted(grantId).segments.get(`${kind}/${index}`);
    if (sealed === undefined) throw new ResourceError('resource.not-found', 'There is no such part.');
    return sealed;
  }

  /** Looks at the chunk at once, as the verifier does later: what is bad is not offered again, and its version can be published anew. */
  async reportBadChunk(name: ResourceName, number: number, chunk: number): Promise<void> {
    const version = this.resources.get(resourcePath(name))?.versions[number - 1];
    if (version === undefined) throw new ResourceError('resource.not-found', 'There is no such version.');
    const { folderId, resourceId, rootHash } = version.statement;
    const recipe = await Recipe.open(
      { folderId, resourceId, version: number },
      version.recipeKey,
      (kind, index) => Promise.resolve(partOf(version.segments, kind, index)),
      rootHash,
    );
    const checked = await new CheckContent(this.objects, (_, packId) => Promise.resolve(this.objectOf(packId))).chunk(
      recipe,
      chunk,
    );
    if (checked === undefined || checked.good) return;
    version.bad = true;
    this.forget(({ packId, offset }) => packId === checked.packId && offset === checked.offset);
  }

  async packUrls(grantId: string, packIds: readonly PackId[]): Promise<readonly PackUrl[]> {
    const allowed = this.granted(grantId).packIds;
    if (packIds.length > MAX_PACK_URLS || packIds.some((packId) => !allowed.includes(packId)))
      throw new ResourceError('api.forbidden', 'These packs do not belong to the grant.');
    return Promise.all(
      packIds.map(async (packId) => {
        const url = await this.objects.signGet(this.objectOf(packId).key, URL_SECONDS);
        const compacted = this.compacted.get(packId);
        return { packId, url, ...(compacted && { compacted }) };
      }),
    );
  }

  private objectOf(packId: PackId): PackObject {
    return this.compacted.get(packId) ?? { key: packObjectKey(this.folderId, packId) };
  }

  private forget(gone: (chunk: KnownChunk) => boolean): void {
    for (const [id, chunks] of this.known)
      this.known.set(
        id,
        chunks.filter((chunk) => !gone(chunk)),
      );
  }

  private async commitOnce(upload: Upload, request: CommitRequest): Promise<{ version: number; created: boolean }> {
    const { folderId, resourceId } = upload.opened;
    const resource = this.resources.get(resourcePath(upload.name));
    if (resource === undefined) throw new ResourceError('upload.not-found', 'There is no such upload.');
    const draft = await Recipe.open(
      { folderId, resourceId, version: DRAFT_VERSION },
      request.recipeKey,
      (kind, index) => Promise.resolve(partOf(upload.segments, kind, index)),
      undefined,
    );
    const packIds: PackId[] = [];
    const gone: PackId[] = [];
    await verifyRecipe(draft, {
      pack: async ({ packId, sizeBytes }) => {
        packIds.push(packId);
        const object = await this.objects.head(packObjectKey(folderId, packId));
        if (object?.sizeBytes !== sizeBytes) gone.push(packId);
      },
      chunks: (segment) => {
        for (let index = 0; index < segment.count; index++) {
          const h = segment.h(index);
          const registered = this.known.get(toHex(deriveChunkId(this.dedupKey, h))) ?? [];
          const rightKey = equalBytes(deriveChunkKey(this.dedupKey, h), segment.key(index));
          const rightPlace = registered.some(
            ({ packId, offset, sealedBytes }) =>
              packId === packIds[segment.packIndex(index)] &&
              offset === segment.offset(index) &&
              sealedBytes === segment.sealedBytes(index),
          );
          if (!rightKey || (!rightPlace && gone.length === 0))
            throw new ResourceError('upload.refused', 'A chunk is not what the recipe says.');
        }
      },
    });
    if (gone.length > 0)
      throw new ResourceError('upload.pack-gone', 'Packs are gone: publish again.', { details: { packIds: gone } });
    const contentHash = toHex(draft.root.sha256);
    const latest = resource.versions.at(-1);
    const own = latest?.statement.publisher === this.publisher; // the hash is the publisher's word alone
    if (own && !latest.bad && latest.contentHash === contentHash && latest.statement.kind === request.kind)
      return { version: latest.statement.version, created: false };
    const version = resource.versions.length + 1;
    const segments = new Map<string, Uint8Array>();
    const { recipeKey, rootHash } = await resealRecipe(draft, version, (kind, index, sealed) => {
      segments.set(`${kind}/${index}`, sealed);
      return Promise.resolve();
    });
    const statement: Statement = {
      folderId,
      folder: upload.name.folder,
      resourceId,
      resource: upload.name.name,
      version,
      kind: request.kind,
      totalBytes: draft.root.totalBytes,
      rootHash,
      publisher: this.publisher,
      committedAt: this.nowSeconds(),
      scope: this.scope,
      ...(request.images && { images: request.images }),
    };
    const statementJws = await signStatement(statement, this.statementKey.signing);
    resource.versions.push({ statement, statementJws, recipeKey, segments, contentHash, packIds, bad: false });
    return { version, created: true };
  }

  private granted(grantId: string): Version {
    const version = this.grants.get(grantId);
    if (version === undefined) throw new ResourceError('api.grant-gone', 'There is no such grant.');
    return version;
  }

  private async signKeyDocument(version: number): Promise<void> {
    const expiresAt = this.nowSeconds() + 90 * 86_400;
    this.keyDocument = await signKeyDocument({ version, expiresAt, keys: this.namedKeys }, this.rootKey.signing);
  }

  private upload(uploadId: string): Upload {
    const upload = this.uploads.get(uploadId);
    if (upload === undefined) throw new ResourceError('upload.not-found', 'There is no such upload.');
    return upload;
  }

  private nowSeconds(): number {
    return Math.floor(this.clock.nowMs() / 1000);
  }
}

/** The publisher's side of an {@link InMemoryAdminApi}. */
export class InMemoryUploadApi extends UploadApi {
  constructor(private readonly admin: InMemoryAdminApi) {
    super();
  }

  override async open(name: ResourceName): Promise<OpenedUpload> {
    return Promise.resolve(this.admin.open(name));
  }

  override async knownChunks(uploadId: string, ids: readonly string[]): Promise<readonly KnownChunk[]> {
    return settled(() => this.admin.knownChunks(uploadId, ids));
  }

  override async addPack(uploadId: string, pack: NewPack): Promise<{ packId: PackId; target: PackTarget }> {
    return this.admin.addPack(uploadId, pack);
  }

  override async putChunkTable(uploadId: string, packId: PackId, chunks: readonly PackedChunk[]): Promise<void> {
    return settled(() => this.admin.putChunkTable(uploadId, packId, chunks));
  }

  override async putSegment(uploadId: string, kind: SegmentKind, index: number, sealed: Uint8Array): Promise<void> {
    return settled(() => this.admin.putSegment(uploadId, kind, index, sealed));
  }

  override async commit(uploadId: string, request: CommitRequest): Promise<{ version: number; created: boolean }> {
    return this.admin.commit(uploadId, request);
  }

  override async heartbeat(): Promise<void> {
    return Promise.resolve();
  }

  override async abandon(uploadId: string): Promise<void> {
    return settled(() => this.admin.abandon(uploadId));
  }
}

/** The reader's side of an {@link InMemoryAdminApi}. */
export class InMemoryGrantApi extends GrantApi {
  constructor(private readonly admin: InMemoryAdminApi) {
    super();
  }

  override async grant(request: GrantRequest): Promise<GrantAnswer> {
    return this.admin.grant(request);
  }

  override async segment(grantId: string, kind: SegmentKind, index: number, maxBytes: number): Promise<Uint8Array> {
    return settled(() => {
      const sealed = this.admin.segment(grantId, kind, index);
      if (sealed.length > maxBytes) throw new ResourceError('api.unexpected', 'The part is too long.');
      return sealed;
    });
  }

  override async packUrls(grantId: string, packIds: readonly PackId[]): Promise<readonly PackUrl[]> {
    return this.admin.packUrls(grantId, packIds);
  }

  override reportBadChunk(resource: ResourceName, version: number, chunk: number): Promise<void> {
    return this.admin.reportBadChunk(resource, version, chunk);
  }
}

async function settled<Result>(answer: () => Result): Promise<Result> {
  await Promise.resolve();
  return answer();
}

function partOf(segments: ReadonlyMap<string, Uint8Array>, kind: SegmentKind, index: number): Uint8Array {
  const sealed = segments.get(`${kind}/${index}`);
  if (sealed === undefined) throw new ResourceError('upload.refused', 'A part of the recipe was not handed in.');
  return sealed;
}

async function newSigningKey(
  kid: string,
): Promise<{ signing: SigningKey; publicKey: webcrypto.CryptoKey; publicJwk: webcrypto.JsonWebKey }> {
  const pair = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign', 'verify']);
  return {
    signing: { kid, privateKey: pair.privateKey },
    publicKey: pair.publicKey,
    publicJwk: await webcrypto.subtle.exportKey('jwk', pair.publicKey),
  };
}
