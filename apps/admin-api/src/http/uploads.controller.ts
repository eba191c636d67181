import type { Readable } from 'node:stream';

import type { ResourceKind } from '@azaion/crypto';
import { NameError, resourceName, toBase64Url } from '@azaion/kernel';
import {
  AnyRole,
  BINARY_MEDIA_TYPE,
  BodyStream,
  invalidRequest,
  Optional,
  ProblemResponses,
  readAtMost,
} from '@azaion/nest-support';
import {
  type CommitRequest,
  MAX_CHUNK_SEGMENTS,
  MAX_CHUNK_TABLE_BYTES,
  MAX_KNOWN_CHUNK_IDS,
  MAX_PACK_BYTES,
  MAX_PACK_SEGMENTS,
  MAX_ROOT_BYTES,
  MAX_SEGMENT_BYTES,
} from '@azaion/split-resource';
import { Body, Controller, Delete, Get, HttpCode, Param, Post, Put, Res, UseGuards } from '@nestjs/common';
import {
  ApiBody,
  ApiConsumes,
  ApiCreatedResponse,
  ApiHeader,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiProperty,
  ApiPropertyOptional,
  ApiTags,
} from '@nestjs/swagger';
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  IsArray,
  IsIn,
  IsInt,
  IsObject,
  Matches,
  Max,
  Min,
  ValidateIf,
  ValidateNested,
} from 'class-validator';
import type { FastifyReply } from 'fastify';

import { CommitUpload } from '../sealed/commit-upload.js';
import type { Standing } from '../sealed/current-standing.js';
import { Packs } from '../sealed/packs.js';
import { Uploads } from '../sealed/uploads.js';
import { type AnswerOf, bytesOf, IdParams, IsBase64UrlBytes, PackParams, SegmentParams } from './dto.js';
import { EmptyBody } from './empty-body.js';
import { ResourcePath } from './resource-path.js';
import { CallerStanding, CARRIER, StandingGuard } from './standing.js';

/** Second path parts of our own under `/sealed`. */
const RESERVED_FOLDERS = ['uploads', 'grants'];
const MAX_IMAGES = 256;
/** What a signed statement holds verbatim: JSON must not make it longer. */
const REFERENCE = /^[!#-[\]-~]{1,512}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

class ChunkingAnswer {
  @ApiProperty({ example: 'fastcdc-nc2-gear32' })
  readonly algorithm!: string;
  @ApiProperty({ example: 32768 })
  readonly minBytes!: number;
  @ApiProperty({ example: 131072 })
  readonly averageBytes!: number;
  @ApiProperty({ example: 524288 })
  readonly maxBytes!: number;
}

class OpenedAnswer {
  @ApiProperty({ format: 'uuid' })
  readonly uploadId!: string;
  @ApiProperty({ format: 'uuid' })
  readonly folderId!: string;
  @ApiProperty({ format: 'uuid' })
  readonly resourceId!: string;
  @ApiProperty({ example: 0 })
  readonly domain!: number;
  @ApiProperty({ description: 'base64url, 32 bytes' })
  readonly dedupKey!: string;
  @ApiProperty({ type: ChunkingAnswer })
  readonly chunking!: AnswerOf<ChunkingAnswer>;
  @ApiProperty({ example: 33554432 })
  readonly packTargetBytes!: number;
  @ApiProperty({ description: 'Whether packs are to be announced with their MD5: the object store checks it' })
  readonly packMd5!: boolean;
  @ApiProperty({ description: 'Seconds since 1970' })
  readonly expiresAt!: number;
}

class ProgressPackAnswer {
  @ApiProperty({ example: '5f2b8a0c9d3e4f60718293a4b5c6d7e8' })
  readonly packId!: string;
  @ApiProperty({ example: 33554432 })
  readonly sizeBytes!: number;
  @ApiProperty({ description: 'Whether it was seen in the object store' })
  readonly written!: boolean;
}

class ProgressSegmentAnswer {
  @ApiProperty({ enum: ['root', 'chunks', 'packs'] })
  readonly kind!: string;
  @ApiProperty({ example: 0 })
  readonly index!: number;
}

class ProgressAnswer {
  @ApiProperty({ format: 'uuid' })
  readonly uploadId!: string;
  @ApiProperty({ enum: ['open', 'committed', 'abandoned'] })
  readonly state!: string;
  @ApiProperty({ description: 'Seconds since 1970' })
  readonly expiresAt!: number;
  @ApiProperty({ type: [ProgressPackAnswer] })
  readonly packs!: readonly AnswerOf<ProgressPackAnswer>[];
  @ApiProperty({ type: [ProgressSegmentAnswer] })
  readonly segments!: readonly AnswerOf<ProgressSegmentAnswer>[];
}

class ExpiryAnswer {
  @ApiProperty({ description: 'Seconds since 1970' })
  readonly expiresAt!: number;
}

class KnownChunksBody {
  @ApiProperty({ type: [String], description: 'base64url, 16 bytes each', example: ['AAECAwQFBgcICQoLDA0ODw'] })
  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(MAX_KNOWN_CHUNK_IDS)
  @IsBase64UrlBytes(16, 16, { each: true })
  readonly ids!: readonly string[];
}

class KnownChunkAnswer {
  @ApiProperty({ description: 'base64url, 16 bytes' })
  readonly id!: string;
  @ApiProperty()
  readonly packId!: string;
  @ApiProperty()
  readonly packSize!: number;
  @ApiProperty({ description: 'base64url, 32 bytes' })
  readonly packSha256!: string;
  @ApiProperty()
  readonly offset!: number;
  @ApiProperty()
  readonly sealedLength!: number;
}

class PackBody {
  @ApiProperty({ example: 33554432 })
  @IsInt()
  @Min(1)
  @Max(MAX_PACK_BYTES)
  readonly sizeBytes!: number;

  @ApiProperty({ description: 'base64url, 32 bytes' })
  @IsBase64UrlBytes(32)
  readonly sha256!: string;

  @ApiPropertyOptional({ description: 'base64url, 16 bytes; required where the upload was opened with `packMd5`' })
  @Optional()
  @IsBase64UrlBytes(16)
  readonly md5?: string;
}

class PackAnswer {
  @ApiProperty()
  readonly packId!: string;
  @ApiProperty()
  readonly url!: string;
  @ApiProperty({ example: 'PUT' })
  readonly method!: 'PUT';
  @ApiProperty({ type: Object, description: 'To be sent verbatim' })
  readonly headers!: object;
}

class ImageBody {
  @ApiProperty({ example: 'azaion/detections:1.4.0' })
  @Matches(REFERENCE)
  readonly reference!: string;

  @ApiProperty({ example: `sha256:${'0'.repeat(64)}` })
  @Matches(DIGEST)
  readonly configDigest!: string;

  @ApiProperty({ nullable: true, type: String, example: `sha256:${'0'.repeat(64)}` })
  @ValidateIf((image: ImageBody) => image.manifestDigest !== null)
  @Matches(DIGEST)
  readonly manifestDigest!: string | null;
}

class CommitBody {
  @ApiProperty({ description: 'base64url, 32 bytes' })
  @IsBase64UrlBytes(32)
  readonly recipeKey!: string;

  @ApiProperty({ enum: ['file', 'images'] })
  @IsIn(['file', 'images'])
  readonly kind!: ResourceKind;

  @ApiProperty({ example: 1 })
  @IsInt()
  @Min(0)
  @Max(MAX_CHUNK_SEGMENTS)
  readonly chunkSegments!: number;

  @ApiProperty({ example: 1 })
  @IsInt()
  @Min(0)
  @Max(MAX_PACK_SEGMENTS)
  readonly packSegments!: number;

  @ApiPropertyOptional({ type: [ImageBody], description: 'For `images` only' })
  @Optional()
  @IsArray()
  @ArrayMaxSize(MAX_IMAGES)
  @IsObject({ each: true })
  @ValidateNested({ each: true })
  @Type(() => ImageBody)
  readonly images?: readonly ImageBody[];
}

class VersionAnswer {
  @ApiProperty({ example: 1 })
  readonly version!: number;
}

const BINARY_BODY = { schema: { type: 'string' as const, format: 'binary' } };

/** F3: uploads of sealed resources. Source: docs/reference/sealed-wire.md, "Publish". */
@ApiTags('publish')
@AnyRole()
@UseGuards(StandingGuard)
@ApiHeader(CARRIER)
@Controller('sealed')
export class UploadsController {
  constructor(
    private readonly uploads: Uploads,
    private readonly packs: Packs,
    private readonly commitUpload: CommitUpload,
  ) {}

  @Post(':folder/:name/uploads')
  @ApiOperation({ summary: 'Open an upload' })
  @EmptyBody()
  @ApiCreatedResponse({ type: OpenedAnswer })
  @ProblemResponses(400, 401, 403, 409, 422)
  @ResourcePath()
  async open(
    @Param('folder') folder: string,
    @Param('name') name: string,
    @CallerStanding() standing: Standing,
  ): Promise<AnswerOf<OpenedAnswer>> {
    const resource = resourceName(folder, name);
    if (RESERVED_FOLDERS.includes(folder))
      throw new NameError('name.invalid', 'This folder name is in use by the API itself: choose another.', {
        details: { field: 'folder' },
      });
    const upload = await this.uploads.open(resource, standing);
    return { ...upload, dedupKey: toBase64Url(upload.dedupKey) };
  }

  @Get('uploads/:id')
  @ApiOperation({ summary: 'What an upload has so far, for resuming it' })
  @ApiOkResponse({ type: ProgressAnswer })
  @ProblemResponses(400, 401, 403, 404)
  async progress(@Param() { id }: IdParams, @CallerStanding() standing: Standing): Promise<AnswerOf<ProgressAnswer>> {
    const { expiresAtSeconds, ...progress } = await this.uploads.progress(id, standing);
    return { uploadId: id, ...progress, expiresAt: expiresAtSeconds };
  }

  @Put('uploads/:id/heartbeat')
  @EmptyBody()
  @ApiOperation({ summary: 'Extend an upload’s life' })
  @ApiOkResponse({ type: ExpiryAnswer })
  @ProblemResponses(400, 401, 403, 404, 409)
  async heartbeat(@Param() { id }: IdParams, @CallerStanding() standing: Standing): Promise<AnswerOf<ExpiryAnswer>> {
    return { expiresAt: await this.uploads.extend(id, standing) };
  }

  @Delete('uploads/:id')
  @EmptyBody()
  @HttpCode(204)
  @ApiOperation({ summary: 'Give an upload up' })
  @ApiNoContentResponse({ description: 'Given up' })
  @ProblemResponses(400, 401, 403, 404, 409)
  async abandon(@Param() { id }: IdParams, @CallerStanding() standing: Standing): Promise<void> {
    await this.uploads.abandon(id, standing);
  }

  @Post('uploads/:id/known-chunks')
  @HttpCode(200)
  @ApiOperation({ summary: 'Which chunks need not be sent again' })
  @ApiOkResponse({ type: [KnownChunkAnswer] })
  @ProblemResponses(400, 401, 403, 404, 409)
  async knownChunks(
    @Param() { id }: IdParams,
    @Body() { ids }: KnownChunksBody,
    @CallerStanding() standing: Standing,
  ): Promise<readonly AnswerOf<KnownChunkAnswer>[]> {
    const known = await this.packs.known(id, ids.map(bytesOf), standing);
    return known.map((chunk) => ({
      id: Buffer.from(chunk.id, 'hex').toString('base64url'),
      packId: chunk.packId,
      packSize: chunk.packSizeBytes,
      packSha256: toBase64Url(chunk.packSha256),
      offset: chunk.offset,
      sealedLength: chunk.sealedBytes,
    }));
  }

  @Post('uploads/:id/packs')
  @ApiOperation({ summary: 'Announce a pack and get a signed URL to write it to' })
  @ApiCreatedResponse({ type: PackAnswer })
  @ProblemResponses(400, 401, 403, 404, 409, 413, 422)
  async addPack(
    @Param() { id }: IdParams,
    @Body() body: PackBody,
    @CallerStanding() standing: Standing,
  ): Promise<AnswerOf<PackAnswer>> {
    const pack = {
      sizeBytes: body.sizeBytes,
      sha256: bytesOf(body.sha256),
      md5: body.md5 === undefined ? undefined : bytesOf(body.md5),
    };
    const { packId, target } = await this.packs.add(id, pack, standing);
    return { packId, url: target.url, method: 'PUT', headers: target.headers };
  }

  @Put('uploads/:id/packs/:packId/chunks')
  @HttpCode(204)
  @ApiOperation({ summary: 'Register which chunks a pack holds' })
  @ApiConsumes(BINARY_MEDIA_TYPE)
  @ApiBody(BINARY_BODY)
  @ApiNoContentResponse({ description: 'Registered' })
  @ProblemResponses(400, 401, 403, 404, 409, 413, 415, 422)
  async putChunkTable(
    @Param() { id, packId }: PackParams,
    @BodyStream() body: Readable,
    @CallerStanding() standing: Standing,
  ): Promise<void> {
    await this.packs.registerTable(id, packId, await readAtMost(body, MAX_CHUNK_TABLE_BYTES), standing);
  }

  @Put('uploads/:id/segments/:kind/:index')
  @HttpCode(204)
  @ApiOperation({ summary: 'Hand in a sealed draft segment of the recipe' })
  @ApiConsumes(BINARY_MEDIA_TYPE)
  @ApiBody(BINARY_BODY)
  @ApiNoContentResponse({ description: 'Kept' })
  @ProblemResponses(400, 401, 403, 404, 409, 413, 415, 422)
  async putSegment(
    @Param() { id, kind, index }: SegmentParams,
    @BodyStream() body: Readable,
    @CallerStanding() standing: Standing,
  ): Promise<void> {
    const sealed = await readAtMost(body, kind === 'root' ? MAX_ROOT_BYTES : MAX_SEGMENT_BYTES);
    await this.uploads.putSegment(id, kind, index, sealed, standing);
  }

  @Post('uploads/:id/commit')
  @ApiOperation({ summary: 'Make the upload a version, after all checks' })
  @ApiCreatedResponse({ type: VersionAnswer })
  @ApiOkResponse({ type: VersionAnswer, description: 'The bytes equal the latest version' })
  @ProblemResponses(400, 401, 403, 404, 409, 413, 422)
  async commit(
    @Param() { id }: IdParams,
    @Body() body: CommitBody,
    @CallerStanding() standing: Standing,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<AnswerOf<VersionAnswer>> {
    const { version, created } = await this.commitUpload.run(id, commitRequest(body), standing);
    void reply.status(created ? 201 : 200);
    return { version };
  }
}

function commitRequest(body: CommitBody): CommitRequest {
  if ((body.kind === 'images') !== (body.images !== undefined))
    throw invalidRequest(400, [{ field: 'images', messages: ['is for image archives, and required there'] }]);
  return {
    recipeKey: bytesOf(body.recipeKey),
    kind: body.kind,
    chunkSegments: body.chunkSegments,
    packSegments: body.packSegments,
    ...(body.images === undefined
      ? {}
      : {
          images: body.images.map(({ reference, configDigest, manifestDigest }) => ({
            reference,
            configDigest,
            manifestDigest,
          })),
        }),
  };
}
