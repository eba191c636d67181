import { randomUUID } from 'node:crypto';

import type { SegmentKind } from '@azaion/crypto';
import type { FolderPolicy } from '@azaion/identity';
import type { Clock, ResourceName } from '@azaion/kernel';
import {
  CHUNKING,
  MAX_CHUNK_SEGMENTS,
  MAX_PACK_SEGMENTS,
  type ObjectStore,
  type OpenedUpload,
  PACK_TARGET_BYTES,
  ResourceError,
} from '@azaion/split-resource';

import type { AuditLog } from '../audit/audit-log.js';
import type { Database, Queries } from '../persistence/database.js';
import type { UploadsTable } from '../persistence/schema.js';
import { actorOf, type Standing } from './current-standing.js';
import type { DraftLimits } from './draft-limits.js';
import { joinedPolicy, type JoinedRules } from './folder-policies.js';
import type { Folders } from './folders.js';

/** How long an upload lives after it was opened or last extended. */
export const UPLOAD_LIFE_SECONDS = 24 * 3600;

/** An upload with what holds for its folder, at once: what a publisher asks for once in a window of content and once in a pack. */
const UPLOAD_IN_FOLDER = {
  name: 'upload-in-folder',
  text: `
    select uploads.id, uploads.resource_id, uploads.folder_id, uploads.domain, uploads.owner_id, uploads.device_serial,
      uploads.state, uploads.expires_at, uploads.committed_version, uploads.committed_new, uploads.created_at,
      uploads.pack_count, folders.name as folder, policy.readers, policy.writers, policy.lease_seconds,
      policy.quota_bytes, policy.require_attestation, policy.people_may_read
    from uploads
    join folders on folders.id = uploads.folder_id
    left join folder_policies policy on policy.folder = folders.name
    where uploads.id = $1 and uploads.owner_id = $2 and uploads.device_serial is not distinct from $3`,
};

type UploadInFolderRow = UploadsTable & JoinedRules & { readonly folder: string };

/** An upload of the caller's, and its folder. */
export interface UploadInFolder {
  readonly upload: UploadsTable;
  /** By name. */
  readonly folder: string;
  readonly policy: FolderPolicy;
}

/** What an upload has so far. */
export interface UploadProgress {
  readonly state: UploadsTable['state'];
  readonly expiresAtSeconds: number;
  readonly packs: readonly { readonly packId: string; readonly sizeBytes: number; readonly written: boolean }[];
  readonly segments: readonly { readonly kind: SegmentKind; readonly index: number }[];
}

/** Opens uploads and keeps their drafts. Nothing of an upload is visible to anybody else before its commit. */
export class Uploads {
  constructor(
    private readonly database: Database,
    private readonly folders: Folders,
    private readonly limits: DraftLimits,
    private readonly audit: AuditLog,
    private readonly store: ObjectStore,
    private readonly clock: Clock,
  ) {}

  /** Opens an upload (F3). @throws IdentityError `folder.forbidden`; ResourceError `upload.too-many-drafts`. */
  async open(name: ResourceName, standing: Standing): Promise<OpenedUpload> {
    await this.folders.assertMayWrite(name.folder, standing);
    return this.database.transaction(async (on) => {
      await this.limits.assertMayOpen(on, standing.userId);
      const folder = await this.folders.ensure(on, name.folder, standing);
      const domain = await this.folders.publishingDomain(on, folder, standing);
      const resourceId = await this.ensureResource(on, folder.id, name.name);
      const uploadId = randomUUID();
      const expiresAt = this.newExpiry();
      await on
        .insertInto('uploads')
        .values({
          id: uploadId,
          resource_id: resourceId,
          folder_id: folder.id,
          domain: domain.number,
          owner_id: standing.userId,
          device_serial: standing.deviceSerial ?? null,
          state: 'open',
          expires_at: expiresAt,
          created_at: new Date(this.clock.nowMs()),
          pack_count: 0,
        })
        .execute();
      await this.audit.record(on, {
        event: 'upload.opened', // its answer releases the domain's key
        actor: actorOf(standing),
        subject: `${name.folder}/${name.name}`,
        details: { uploadId, domain: domain.number },
      });
      return {
        uploadId,
        folderId: folder.id,
        resourceId,
        domain: domain.number,
        dedupKey: domain.key,
        chunking: CHUNKING,
        packTargetBytes: PACK_TARGET_BYTES,
        packMd5: this.store.needsMd5,
        expiresAt: seconds(expiresAt),
      };
    });
  }

  /** What an upload has, for who resumes it. @throws ResourceError `upload.not-found`. */
  async progress(uploadId: string, standing: Standing): Promise<UploadProgress> {
    const upload = await this.owned(this.database.queries, uploadId, standing);
    const packs = await this.database.queries
      .selectFrom('packs')
      .select(['id', 'size_bytes', 'seen_written'])
      .where('upload_id', '=', uploadId)
      .orderBy('created_at')
      .execute();
    const segments = await this.database.queries
      .selectFrom('upload_segments')
      .select(['kind', 'index'])
      .where('upload_id', '=', uploadId)
      .orderBy('kind')
      .orderBy('index')
      .execute();
    return {
      state: upload.state,
      expiresAtSeconds: seconds(upload.expires_at),
      packs: packs.map((pack) => ({ packId: pack.id, sizeBytes: pack.size_bytes, written: pack.seen_written })),
      segments,
    };
  }

  /** Extends an upload's life. @returns Seconds since 1970. @throws ResourceError `upload.not-found` | `upload.conflict`. */
  async extend(uploadId: string, standing: Standing): Promise<number> {
    const expiresAt = this.newExpiry();
    await this.database.transaction(async (on) => {
      await this.openOwned(on, uploadId, standing, true);
      await on.updateTable('uploads').set({ expires_at: expiresAt }).where('id', '=', uploadId).execute();
    });
    return seconds(expiresAt);
  }

  /** Gives an upload up; its packs can still be found again. @throws ResourceError `upload.not-found` | `upload.conflict`. */
  async abandon(uploadId: string, standing: Standing): Promise<void> {
    await this.database.transaction(async (on) => {
      await this.openOwned(on, uploadId, standing, true);
      await on.updateTable('uploads').set({ state: 'abandoned' }).where('id', '=', uploadId).execute();
      await on.deleteFrom('upload_segments').where('upload_id', '=', uploadId).execute();
      await on.deleteFrom('pack_pins').where('upload_id', '=', uploadId).execute();
      await this.audit.record(on, { event: 'upload.abandoned', actor: actorOf(standing), subject: uploadId });
    });
  }

  /**
   * Keeps a draft segment; a repeat replaces it.
   *
   * @param sealed - Untrusted bytes, already bounded.
   * @throws ResourceError `upload.not-found` | `upload.conflict` | `upload.refused` | `upload.too-many-drafts`.
   */
  async putSegment(
    uploadId: string,
    kind: SegmentKind,
    index: number,
    sealed: Buffer,
    standing: Standing,
  ): Promise<void> {
    const segments = { root: 1, chunks: MAX_CHUNK_SEGMENTS, packs: MAX_PACK_SEGMENTS }[kind];
    if (index >= segments) throw new ResourceError('upload.refused', 'There is no segment of this number.');
    const upload = await this.openOwned(this.database.queries, uploadId, standing);
    await this.limits.assertRoomForSegment(upload.owner_id, { uploadId, kind, index }, sealed.length);
    await this.database.queries
      .insertInto('upload_segments')
      .values({ upload_id: uploadId, kind, index, sealed })
      .onConflict((conflict) => conflict.columns(['upload_id', 'kind', 'index']).doUpdateSet({ sealed }))
      .execute();
  }

  /** An upload of this caller, in whatever state. Others' uploads do not exist for it. @throws ResourceError `upload.not-found`. */
  async owned(on: Queries, uploadId: string, standing: Standing, lock = false): Promise<UploadsTable> {
    const query = on
      .selectFrom('uploads')
      .selectAll()
      .where('id', '=', uploadId)
      .where('owner_id', '=', standing.userId)
      .where('device_serial', 'is not distinct from', standing.deviceSerial ?? null);
    const upload = await (lock ? query.forUpdate() : query).executeTakeFirst();
    if (!upload) throw noSuchUpload();
    return upload;
  }

  /** As {@link owned}, by itself, with its folder. */
  async ownedInFolder(uploadId: string, { userId, deviceSerial }: Standing): Promise<UploadInFolder> {
    const values = [uploadId, userId, deviceSerial ?? null];
    const [row] = await this.database.prepared<UploadInFolderRow>(UPLOAD_IN_FOLDER, values);
    if (row === undefined) throw noSuchUpload();
    return { upload: row, folder: row.folder, policy: joinedPolicy(row.folder, row) };
  }

  /** An upload of this caller that can still be added to. @throws ResourceError `upload.not-found` | `upload.conflict`. */
  async openOwned(on: Queries, uploadId: string, standing: Standing, lock = false): Promise<UploadsTable> {
    const upload = await this.owned(on, uploadId, standing, lock);
    this.assertOpen(upload);
    return upload;
  }

  /** @throws ResourceError `upload.not-found` | `upload.conflict`. */
  assertOpen(upload: UploadsTable): void {
    if (upload.state !== 'open')
      throw new ResourceError('upload.conflict', 'The upload has been completed or given up: open a new one.');
    if (upload.expires_at.getTime() <= this.clock.nowMs())
      throw new ResourceError('upload.not-found', 'The upload has expired: open a new one.');
  }

  private async ensureResource(on: Queries, folderId: string, name: string): Promise<string> {
    await on
      .insertInto('resources')
      .values({
        id: randomUUID(),
        folder_id: folderId,
        name,
        latest_version: 0,
        created_at: new Date(this.clock.nowMs()),
      })
      .onConflict((conflict) => conflict.columns(['folder_id', 'name']).doNothing())
      .execute();
    const { id } = await on
      .selectFrom('resources')
      .select('id')
      .where('folder_id', '=', folderId)
      .where('name', '=', name)
      .executeTakeFirstOrThrow();
    return id;
  }

  private newExpiry(): Date {
    return new Date(this.clock.nowMs() + UPLOAD_LIFE_SECONDS * 1000);
  }
}

/** Others' uploads do not exist for a caller. */
function noSuchUpload(): ResourceError {
  return new ResourceError('upload.not-found', 'There is no such upload.');
}

function seconds(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}
