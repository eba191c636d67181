import {
  CHUNKING,
  type CommitRequest,
  encodeChunkTable,
  type KnownChunk,
  MAX_KNOWN_CHUNK_IDS,
  MAX_PACK_BYTES,
  type NewPack,
  type OpenedUpload,
  PACK_ID_PATTERN,
  type PackedChunk,
  type PackId,
  type PackTarget,
  ResourceError,
  UploadApi,
} from '@azaion/split-resource';
import { CHUNK_ID_BYTES, type SegmentKind } from '@azaion/crypto';
import { type DomainError, type ResourceName, toBase64Url, toHex, UUID_PATTERN } from '@azaion/kernel';

import type { AccessTokens } from './access-tokens.js';
import { AnswerShapeError, answerList, ApiAnswer } from './api-answer.js';
import { type ApiClient, apiPath, type ApiProblem } from './api-client.js';

const SMALL_BYTES = 64 * 1024;
const COMMIT_DEADLINE_MS = 600_000;

/** F3 over HTTP, for one caller. Answers are checked for shape and bounds; what they say is the caller's to trust. Source: docs/reference/sealed-wire.md, "Publish". */
export class HttpUploadApi extends UploadApi {
  /** @param deviceTokens - Where an enrolled device carries the call: its own token. */
  constructor(
    private readonly client: ApiClient,
    private readonly tokens: AccessTokens,
    private readonly deviceTokens?: AccessTokens,
  ) {
    super();
  }

  override open(resource: ResourceName): Promise<OpenedUpload> {
    return this.client.json(
      {
        ...this.identity(),
        method: 'POST',
        path: apiPath('sealed', resource.folder, resource.name, 'uploads'),
        json: {},
        expect: [201],
        maxBytes: SMALL_BYTES,
      },
      (value) => {
        const answer = new ApiAnswer(value);
        return {
          uploadId: answer.text('uploadId', 36, UUID_PATTERN),
          folderId: answer.text('folderId', 36, UUID_PATTERN),
          resourceId: answer.text('resourceId', 36, UUID_PATTERN),
          domain: answer.count('domain', 0, 0xffff),
          dedupKey: answer.bytes('dedupKey', 32),
          chunking: readChunking(answer.object('chunking')),
          packTargetBytes: answer.count('packTargetBytes', 1, MAX_PACK_BYTES),
          packMd5: answer.flag('packMd5', true), // an older API always wants it
          expiresAt: answer.count('expiresAt', 1, Number.MAX_SAFE_INTEGER),
        };
      },
      uploadRefusal,
    );
  }

  override knownChunks(uploadId: string, ids: readonly string[]): Promise<readonly KnownChunk[]> {
    return this.client.json(
      {
        ...this.identity(),
        method: 'POST',
        path: apiPath('sealed', 'uploads', uploadId, 'known-chunks'),
        json: { ids: ids.map((id) => Buffer.from(id, 'hex').toString('base64url')) },
        expect: [200],
        maxBytes: MAX_KNOWN_CHUNK_IDS * 512,
      },
      (value) => {
        const asked = new Set(ids);
        return answerList(value, ids.length).map((answer) => {
          const id = toHex(answer.bytes('id', CHUNK_ID_BYTES));
          if (!asked.delete(id)) throw new AnswerShapeError('id');
          return {
            id,
            packId: answer.text('packId', 32, PACK_ID_PATTERN),
            packSizeBytes: answer.count('packSize', 1, MAX_PACK_BYTES),
            packSha256: answer.bytes('packSha256', 32),
            offset: answer.count('offset', 0, MAX_PACK_BYTES),
            sealedBytes: answer.count('sealedLength', 1, MAX_PACK_BYTES),
          };
        });
      },
      uploadRefusal,
    );
  }

  override addPack(uploadId: string, pack: NewPack): Promise<{ readonly packId: PackId; readonly target: PackTarget }> {
    return this.client.json(
      {
        ...this.identity(),
        method: 'POST',
        path: apiPath('sealed', 'uploads', uploadId, 'packs'),
        json: {
          sizeBytes: pack.sizeBytes,
          sha256: toBase64Url(pack.sha256),
          ...(pack.md5 && { md5: toBase64Url(pack.md5) }),
        },
        expect: [201],
        maxBytes: SMALL_BYTES,
      },
      (value) => {
        const answer = new ApiAnswer(value);
        answer.oneOf('method', ['PUT']);
        return {
          packId: answer.text('packId', 32, PACK_ID_PATTERN),
          target: { url: answer.url('url'), headers: answer.texts('headers') },
        };
      },
      uploadRefusal,
    );
  }

  override async putChunkTable(uploadId: string, packId: PackId, chunks: readonly PackedChunk[]): Promise<void> {
    await this.put(apiPath('sealed', 'uploads', uploadId, 'packs', packId, 'chunks'), encodeChunkTable(chunks));
  }

  override async putSegment(uploadId: string, kind: SegmentKind, index: number, sealed: Uint8Array): Promise<void> {
    await this.put(apiPath('sealed', 'uploads', uploadId, 'segments', kind, index), sealed);
  }

  override commit(
    uploadId: string,
    request: CommitRequest,
  ): Promise<{ readonly version: number; readonly created: boolean }> {
    return this.client.json(
      {
        ...this.identity(),
        method: 'POST',
        path: apiPath('sealed', 'uploads', uploadId, 'commit'),
        json: { ...request, recipeKey: toBase64Url(request.recipeKey) },
        expect: [200, 201],
        maxBytes: SMALL_BYTES,
        deadlineMs: COMMIT_DEADLINE_MS,
      },
      (value, status) => ({
        version: new ApiAnswer(value).count('version', 1, 0xffff_ffff),
        created: status === 201,
      }),
      uploadRefusal,
    );
  }

  override async heartbeat(uploadId: string): Promise<void> {
    await this.client.call(
      {
        ...this.identity(),
        method: 'PUT',
        path: apiPath('sealed', 'uploads', uploadId, 'heartbeat'),
        expect: [200, 204],
        maxBytes: SMALL_BYTES,
      },
      uploadRefusal,
    );
  }

  override async abandon(uploadId: string): Promise<void> {
    await this.client.call(
      {
        ...this.identity(),
        method: 'DELETE',
        path: apiPath('sealed', 'uploads', uploadId),
        expect: [204],
        maxBytes: SMALL_BYTES,
      },
      uploadRefusal,
    );
  }

  private async put(path: string, bytes: Uint8Array): Promise<void> {
    await this.client.call(
      { ...this.identity(), method: 'PUT', path, bytes, expect: [204], maxBytes: SMALL_BYTES },
      uploadRefusal,
    );
  }

  private identity(): { readonly tokens: AccessTokens; readonly deviceTokens: AccessTokens | undefined } {
    return { tokens: this.tokens, deviceTokens: this.deviceTokens };
  }
}

function readChunking(answer: ApiAnswer): OpenedUpload['chunking'] {
  return {
    algorithm: answer.oneOf('algorithm', [CHUNKING.algorithm]),
    minBytes: answer.count('minBytes', CHUNKING.minBytes, CHUNKING.minBytes),
    averageBytes: answer.count('averageBytes', CHUNKING.averageBytes, CHUNKING.averageBytes),
    maxBytes: answer.count('maxBytes', CHUNKING.maxBytes, CHUNKING.maxBytes),
  };
}

function uploadRefusal(problem: ApiProblem): DomainError | undefined {
  const options = { cause: { status: problem.status, code: problem.code } };
  switch (problem.status) {
    case 403:
      return problem.code === 'folder.forbidden' || problem.code === 'resource.forbidden'
        ? new ResourceError('resource.forbidden', 'The caller may not publish into this folder.', options)
        : undefined;
    case 404:
      return new ResourceError('upload.not-found', 'The upload does not exist or has expired: publish again.', options);
    case 409:
      if (problem.code === 'upload.too-many-drafts')
        return new ResourceError(
          'upload.too-many-drafts',
          'Too many uploads of this publisher are not finished.',
          options,
        );
      return problem.code === 'upload.pack-gone'
        ? new ResourceError('upload.pack-gone', 'Packs of this upload are gone: seal them again.', {
            ...options,
            details: { packIds: gonePacks(problem) },
          })
        : new ResourceError(
            'upload.conflict',
            'The upload is not in a state that allows this: publish again.',
            options,
          );
    case 413:
      if (problem.code === 'upload.quota-exceeded')
        return new ResourceError('upload.quota-exceeded', 'The folder has no room for this upload.', options);
      return new ResourceError('resource.too-large', 'The Admin API does not accept a resource of this size.', options);
    case 422:
      return new ResourceError(
        'upload.refused',
        'The Admin API refused the upload: a check of its recipe failed.',
        options,
      );
    default:
      return undefined;
  }
}

function gonePacks(problem: ApiProblem): string[] {
  const details = problem.members['details'];
  const list =
    problem.members['packIds'] ??
    (typeof details === 'object' && details !== null ? (details as Record<string, unknown>)['packIds'] : undefined);
  if (!Array.isArray(list)) return [];
  return list.filter((id): id is string => typeof id === 'string' && PACK_ID_PATTERN.test(id)).slice(0, 65_536);
}
