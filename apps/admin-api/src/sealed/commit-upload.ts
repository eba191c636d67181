import { createHmac } from 'node:crypto';

import {
  CHUNK_ID_BYTES,
  deriveChunkId,
  deriveChunkKey,
  DRAFT_VERSION,
  type KeyVault,
  signStatement,
  type Statement,
} from '@azaion/crypto';
import { type Clock, DomainError, equalBytes, u32be, utf8 } from '@azaion/kernel';
import {
  CHUNKING,
  type ChunkSegment,
  type CommitRequest,
  type PackId,
  type PackRef,
  Recipe,
  ResourceError,
  resealRecipe,
  verifyRecipe,
} from '@azaion/split-resource';
import { type Selectable, sql } from 'kysely';

import type { AuditLog } from '../audit/audit-log.js';
import type { ServiceSecrets } from '../keys/service-secrets.js';
import type { StatementAuthority } from '../keys/statement-authority.js';
import type { Database, Queries } from '../persistence/database.js';
import type { PacksTable, UploadsTable } from '../persistence/schema.js';
import { actorOf, type Standing } from './current-standing.js';
import type { FolderQuota } from './folder-quota.js';
import type { DedupDomain, Folders } from './folders.js';
import type { Packs, Reach } from './packs.js';
import type { Uploads } from './uploads.js';

/** What a commit came to. */
export interface CommittedVersion {
  readonly version: number;
  /** False when the bytes equal the latest version. */
  readonly created: boolean;
}

/** What was found out before any row was locked. */
interface Beforehand {
  /** Whether chunks of others may be reused. */
  readonly others: boolean;
  /** Packs of the draft that the object store has; those that a version needs already are not among them. */
  readonly written: ReadonlySet<PackId>;
}

/** A pack of a version. */
interface UsedPack {
  readonly packId: PackId;
  /** Sealed bytes of it that the version needs. */
  readonly usedBytes: number;
}

/** What a sound draft says about its packs and bytes. */
interface SoundDraft {
  /** In order; locked. */
  readonly packs: readonly UsedPack[];
  /** Plaintext bytes that lie in packs of this upload. */
  readonly newBytes: number;
  /** Sizes of the packs of this upload. */
  readonly sentBytes: number;
}

const ROWS_AT_ONCE = 10_000;

/** F3: turns an upload into a version after all checks, in one transaction. Source: docs/formats/sealed-resource.md, "Commit checks". */
export class CommitUpload {
  constructor(
    private readonly database: Database,
    private readonly uploads: Uploads,
    private readonly folders: Folders,
    private readonly packs: Packs,
    private readonly quota: FolderQuota,
    private readonly vault: KeyVault,
    private readonly secrets: ServiceSecrets,
    private readonly authority: StatementAuthority,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /**
   * Idempotent by upload id. Holds one segment in memory, and 8 bytes a chunk.
   *
   * @param request - The publisher's word; every part of it is checked. Its key is overwritten.
   * @throws ResourceError `upload.not-found` | `upload.conflict` | `upload.refused` | `upload.pack-gone` | `upload.quota-exceeded`; IdentityError `folder.forbidden`.
   */
  async run(uploadId: string, request: CommitRequest, standing: Standing): Promise<CommittedVersion> {
    try {
      const beforehand = await this.lookBeforehand(uploadId, request, standing);
      return await this.database.transaction((on) => this.commit(on, uploadId, request, standing, beforehand));
    } catch (error) {
      throw asRefusal(error);
    } finally {
      request.recipeKey.fill(0);
    }
  }

  /**
   * Asks the object store for the draft's packs before any row is locked: a pack that no version needs yet may have gone since it was seen.
   * A draft that does not read has none: the checks under the lock say what is wrong with it.
   */
  private async lookBeforehand(uploadId: string, request: CommitRequest, standing: Standing): Promise<Beforehand> {
    const on = this.database.queries;
    const reach = await this.packs.reach(uploadId, standing);
    const { upload } = reach;
    const nothing = { others: false, written: new Set<PackId>() };
    if (upload.state !== 'open') return nothing;
    const ids: PackId[] = [];
    try {
      const draft = await this.openDraft(on, upload, request);
      for (let index = 0; index < draft.root.packSegmentHashes.length; index++) {
        const segment = await draft.packSegment(index);
        for (let at = 0; at < segment.count; at++) ids.push(segment.pack(at).packId);
      }
    } catch (error) {
      if (isRefusal(asRefusal(error))) return nothing;
      throw error;
    }
    return { others: reach.others, written: await this.packs.askFor(reach, ids) };
  }

  private async commit(
    on: Queries,
    uploadId: string,
    request: CommitRequest,
    standing: Standing,
    beforehand: Beforehand,
  ): Promise<CommittedVersion> {
    const upload = await this.uploads.owned(on, uploadId, standing, true);
    if (upload.committed_version !== null)
      return { version: upload.committed_version, created: upload.committed_new ?? false };
    this.uploads.assertOpen(upload);
    const resource = await on
      .selectFrom('resources')
      .innerJoin('folders', 'folders.id', 'resources.folder_id')
      .select(['resources.id', 'resources.name', 'resources.latest_version', 'folders.name as folder'])
      .where('resources.id', '=', upload.resource_id)
      .forNoKeyUpdate('resources') // versions are numbered in the order of this lock
      .executeTakeFirstOrThrow();
    await this.folders.assertMayWrite(resource.folder, standing, on);

    const draft = await this.openDraft(on, upload, request);
    const scope = standing.deviceSerial === undefined ? 'fleet' : `device:${standing.deviceSerial}`;
    const reach = { upload, others: beforehand.others };
    const { packs, newBytes, sentBytes } = await this.assertSound(on, reach, draft, beforehand.written);
    await this.quota.assertKept(
      on,
      upload.folder_id,
      packs.map(({ packId }) => packId),
    );
    const contentMac = await this.contentMac(upload.resource_id, draft, request);
    const same = await this.latestIfSame(on, reach, scope, contentMac);
    if (same !== undefined) {
      await this.audit.record(on, {
        event: 'version.unchanged',
        actor: actorOf(standing),
        subject: `${resource.folder}/${resource.name}`,
        details: { version: same },
      });
      return this.finish(on, upload, { version: same, created: false });
    }

    const version = resource.latest_version + 1;
    const resealed = await resealRecipe(draft, version, async (kind, index, sealed) => {
      await on
        .insertInto('version_segments')
        .values({ resource_id: upload.resource_id, version, kind, index, sealed: Buffer.from(sealed) })
        .execute();
    });
    const wrappedKey = Buffer.from(
      await this.vault
        .wrap('recipe', recipeRow(upload.resource_id, version), resealed.recipeKey)
        .finally(() => resealed.recipeKey.fill(0)),
    );
    const committedAt = Math.floor(this.clock.nowMs() / 1000);
    const statement: Statement = {
      folderId: upload.folder_id,
      folder: resource.folder,
      resourceId: upload.resource_id,
      resource: resource.name,
      version,
      kind: request.kind,
      totalBytes: draft.root.totalBytes,
      rootHash: resealed.rootHash,
      publisher: standing.userId,
      committedAt,
      scope,
      ...(request.kind === 'images' ? { images: request.images ?? [] } : {}),
    };
    await on
      .insertInto('versions')
      .values({
        resource_id: upload.resource_id,
        version,
        kind: request.kind,
        statement: await signStatement(statement, await this.authority.signingKey(on)),
        root_hash: resealed.rootHash,
        wrapped_recipe_key: wrappedKey,
        content_mac: contentMac,
        total_bytes: draft.root.totalBytes,
        recipe_bytes: resealed.recipeBytes,
        publisher_id: standing.userId,
        scope,
        state: 'live',
        committed_at: new Date(committedAt * 1000),
      })
      .execute();
    await this.keepPacks(on, upload.resource_id, version, packs);
    await on.updateTable('resources').set({ latest_version: version }).where('id', '=', upload.resource_id).execute();
    await this.audit.record(on, {
      event: 'version.committed',
      actor: actorOf(standing),
      subject: `${resource.folder}/${resource.name}`,
      details: {
        version,
        scope,
        totalBytes: draft.root.totalBytes,
        newBytes,
        reusedBytes: draft.root.totalBytes - newBytes,
        sentBytes,
      },
    });
    return this.finish(on, upload, { version, created: true });
  }

  private async openDraft(on: Queries, upload: UploadsTable, request: CommitRequest): Promise<Recipe> {
    const place = { folderId: upload.folder_id, resourceId: upload.resource_id, version: DRAFT_VERSION };
    const draft = await Recipe.open(
      place,
      request.recipeKey,
      async (kind, index) => {
        const row = await on
          .selectFrom('upload_segments')
          .select('sealed')
          .where('upload_id', '=', upload.id)
          .where('kind', '=', kind)
          .where('index', '=', index)
          .executeTakeFirst();
        if (!row) throw refused(`The segment ${kind}/${index} is missing.`);
        return row.sealed;
      },
      undefined,
    );
    const { root } = draft;
    if (
      root.chunkSegmentHashes.length !== request.chunkSegments ||
      root.packSegmentHashes.length !== request.packSegments
    )
      throw refused('The root names other numbers of segments than the request.');
    if (
      root.chunking.algorithm !== CHUNKING.algorithm ||
      root.chunking.minBytes !== CHUNKING.minBytes ||
      root.chunking.averageBytes !== CHUNKING.averageBytes ||
      root.chunking.maxBytes !== CHUNKING.maxBytes
    )
      throw refused('The content was cut with other parameters than this upload asked for.');
    if ((request.kind === 'images') !== (request.images !== undefined))
      throw refused('Images are named for image archives, and only for them.');
    return draft;
  }

  /** All checks on the recipe. */
  private async assertSound(
    on: Queries,
    reach: Reach,
    draft: Recipe,
    written: ReadonlySet<PackId>,
  ): Promise<SoundDraft> {
    const domain = await this.folders.domain(on, reach.upload.folder_id, reach.upload.domain);
    try {
      return await this.verify(on, reach, draft, written, domain);
    } finally {
      domain.key.fill(0);
    }
  }

  private async verify(
    on: Queries,
    reach: Reach,
    draft: Recipe,
    written: ReadonlySet<PackId>,
    domain: DedupDomain,
  ): Promise<SoundDraft> {
    const refs: PackRef[] = [];
    let ids: readonly PackId[] | undefined;
    let own: readonly boolean[] = [];
    const usedBytes = new Float64Array(draft.root.packs);
    let newBytes = 0;
    /** Up to where each own pack has been named: publishers name its chunks first in their order, and what is named again lies before. */
    const namedBytes = new Float64Array(draft.root.packs);
    await verifyRecipe(draft, {
      pack: (pack) => {
        refs.push({ ...pack, sha256: Uint8Array.from(pack.sha256) });
      },
      chunks: async (segment, segmentIndex) => {
        if (ids === undefined) {
          const packs = await this.assertPacks(on, reach, refs, written);
          ids = packs.map(({ id }) => id);
          own = packs.map(({ upload_id: uploadId }) => uploadId === reach.upload.id);
        }
        const isLast = segmentIndex === draft.root.chunkSegmentHashes.length - 1;
        await this.assertChunks(on, reach, domain, segment, ids, isLast);
        for (let index = 0; index < segment.count; index++) {
          const packIndex = segment.packIndex(index);
          usedBytes[packIndex] = (usedBytes[packIndex] ?? 0) + segment.sealedBytes(index);
          const end = segment.offset(index) + segment.sealedBytes(index);
          if (own[packIndex] !== true || end <= (namedBytes[packIndex] ?? 0)) continue;
          namedBytes[packIndex] = end;
          newBytes += segment.plaintextBytes(index);
        }
      },
    });
    return {
      // A chunk that is named twice counts twice: what looks dense may not be, what looks sparse is.
      packs: refs.map(({ packId, sizeBytes }, index) => ({
        packId,
        usedBytes: Math.min(sizeBytes, usedBytes[index] ?? 0),
      })),
      newBytes,
      sentBytes: refs.reduce((sum, { sizeBytes }, index) => (own[index] === true ? sum + sizeBytes : sum), 0),
    };
  }

  private async assertPacks(
    on: Queries,
    reach: Reach,
    refs: readonly PackRef[],
    written: ReadonlySet<PackId>,
  ): Promise<readonly Selectable<PacksTable>[]> {
    const usable = await this.packs.usable(
      on,
      reach,
      refs.map(({ packId }) => packId),
    );
    const packs: Selectable<PacksTable>[] = [];
    const gone: PackId[] = [];
    for (const ref of refs) {
      const row = usable.get(ref.packId);
      if (!row) throw refused('The recipe names a pack that is not of this upload and was not offered to it.');
      if (row.size_bytes !== ref.sizeBytes || !equalBytes(row.sha256, ref.sha256))
        throw refused('The recipe describes a pack otherwise than it was announced.');
      if (!isThere(row, written)) gone.push(row.id);
      packs.push(row);
    }
    if (gone.length > 0) throw packsGone(gone);
    return packs;
  }

  /** Every key is what the content's hash gives, and every place holds, by its pack's table, just this chunk. */
  private async assertChunks(
    on: Queries,
    { upload, others }: Reach,
    domain: DedupDomain,
    segment: ChunkSegment,
    packIds: readonly PackId[],
    isLastSegment: boolean,
  ): Promise<void> {
    const packs: string[] = [];
    const starts: number[] = [];
    const lengths: number[] = [];
    const chunkIds: Buffer[] = [];
    for (let index = 0; index < segment.count; index++) {
      const h = segment.h(index);
      const isLast = isLastSegment && index === segment.count - 1;
      if (segment.plaintextBytes(index) < CHUNKING.minBytes && !isLast)
        throw refused('A chunk is smaller than the cutter makes any but the last.');
      if (segment.domain(index) !== domain.number) throw refused('A chunk belongs to another dedup domain.');
      if (!equalBytes(deriveChunkKey(domain.key, h), segment.key(index)))
        throw refused('The key of a chunk does not belong to its content.');
      packs.push(packIds[segment.packIndex(index)] ?? '');
      starts.push(segment.offset(index));
      lengths.push(segment.sealedBytes(index));
      chunkIds.push(deriveChunkId(domain.key, h).subarray(0, CHUNK_ID_BYTES));
    }
    const { rows } = await sql<{ matching: number; gone: string[] | null }>`
      select count(pack_chunks.pack_id)
          filter (where good is not false and (packs.owner_id = ${upload.owner_id} or ${others} and good)) as matching,
        array_agg(distinct packs.id) filter (where not good or pack_chunks.pack_id is null and packs.object_id is not null) as gone
      from unnest(${packs}::text[], ${starts}::int[], ${lengths}::int[], ${chunkIds}::bytea[])
        as named (pack_id, start_byte, sealed_bytes, chunk_id)
      join packs on packs.id = named.pack_id
      left join pack_chunks using (pack_id, start_byte, sealed_bytes, chunk_id)`.execute(on);
    const gone = rows[0]?.gone ?? [];
    // known-chunks offered them before a reader and the verifier found them damaged; or compaction has left out what nobody needed.
    if (gone.length > 0) throw packsGone(gone);
    if (rows[0]?.matching !== segment.count)
      throw refused('The recipe names a place in a pack where its table has no such chunk.');
  }

  /** Recognizes equal content without keeping a hash by which a guess could be confirmed. */
  private async contentMac(resourceId: string, draft: Recipe, request: CommitRequest): Promise<Buffer> {
    const mac = createHmac('sha256', await this.secrets.get('content-fingerprint'));
    mac.update(utf8(`${resourceId}\0${request.kind}\0${String(draft.root.totalBytes)}\0`));
    mac.update(draft.root.sha256);
    for (const image of request.images ?? []) {
      const text = utf8(JSON.stringify([image.reference, image.configDigest, image.manifestDigest]));
      mac.update(u32be(text.length)).update(text);
    }
    return mac.digest();
  }

  /**
   * The hash of the whole content is the publisher's word alone: it stands for what the same publisher said before, and for another's once
   * the verifier has computed it. Who may not read the folder is told of nobody else's content: it would confirm a guess.
   */
  private async latestIfSame(
    on: Queries,
    { upload, others }: Reach,
    scope: string,
    contentMac: Buffer,
  ): Promise<number | undefined> {
    const latest = await on
      .selectFrom('versions')
      .select(['version', 'content_mac', 'state', 'verification', 'publisher_id'])
      .where('resource_id', '=', upload.resource_id)
      .where('scope', '=', scope)
      .orderBy('version', 'desc')
      .limit(1)
      .executeTakeFirst();
    const same =
      latest?.state === 'live' &&
      latest.verification !== 'bad' && // publishing it again repairs it
      (latest.publisher_id === upload.owner_id || (others && latest.verification === 'verified')) &&
      equalBytes(latest.content_mac, contentMac);
    return same ? latest.version : undefined;
  }

  private async keepPacks(on: Queries, resourceId: string, version: number, packs: readonly UsedPack[]): Promise<void> {
    for (let at = 0; at < packs.length; at += ROWS_AT_ONCE)
      await on
        .insertInto('version_packs')
        .values(
          packs.slice(at, at + ROWS_AT_ONCE).map(({ packId, usedBytes }, index) => ({
            resource_id: resourceId,
            version,
            position: at + index,
            pack_id: packId,
            used_bytes: usedBytes,
          })),
        )
        .execute();
    await on
      .updateTable('packs')
      .set({ state: 'live', condemned_at: null })
      .where('id', '=', sql<string>`any(${packs.map(({ packId }) => packId)}::text[])`)
      .execute();
  }

  private async finish(on: Queries, upload: UploadsTable, result: CommittedVersion): Promise<CommittedVersion> {
    await on
      .updateTable('uploads')
      .set({ state: 'committed', committed_version: result.version, committed_new: result.created })
      .where('id', '=', upload.id)
      .execute();
    await on.deleteFrom('upload_segments').where('upload_id', '=', upload.id).execute();
    await on.deleteFrom('pack_pins').where('upload_id', '=', upload.id).execute();
    return result;
  }
}

/** Row id under which a version's recipe key is wrapped. */
export function recipeRow(resourceId: string, version: number): string {
  return `${resourceId}/${version}`;
}

/** What a version needs, and what is condemned only, has not been deleted; anything else counts when the object store was seen to have it. */
function isThere(row: Selectable<PacksTable>, written: ReadonlySet<PackId>): boolean {
  if (row.state === 'deleted') return false;
  return row.state === 'live' || (row.state === 'condemned' && row.seen_written) || written.has(row.id);
}

function packsGone(packIds: readonly PackId[]): ResourceError {
  return new ResourceError(
    'upload.pack-gone',
    'Packs of this upload are not in the object store, damaged there, or no longer hold what is named: publish again.',
    { details: { packIds } },
  );
}

function refused(message: string): ResourceError {
  return new ResourceError('upload.refused', message);
}

/** A draft that does not read is the publisher's fault here, not an upstream's. */
function asRefusal(error: unknown): unknown {
  if (!isDomainError(error)) return error;
  const unreadable: readonly string[] = [
    'segment.invalid',
    'recipe.invalid',
    'resource.integrity',
    'resource.unsupported-format',
  ];
  return unreadable.includes(error.code)
    ? new ResourceError('upload.refused', `The draft recipe was refused: ${error.message}`, { cause: error })
    : error;
}

function isRefusal(error: unknown): boolean {
  return error instanceof ResourceError && error.code === 'upload.refused';
}

function isDomainError(error: unknown): error is DomainError {
  return error instanceof DomainError;
}
