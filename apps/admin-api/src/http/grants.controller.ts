import { MAX_LEASE_SECONDS, MIN_LEASE_SECONDS } from '@azaion/identity';
import { isValidName, NAME_PATTERN, NameError, resourceName, toBase64Url } from '@azaion/kernel';
import { AllowRoles, AnyRole, BINARY_MEDIA_TYPE, Optional, ProblemResponses } from '@azaion/nest-support';
import { MAX_PACK_EXTENTS, MAX_PACK_URLS, PACK_ID_PATTERN, type PackUrl } from '@azaion/split-resource';
import { Body, Controller, Get, HttpCode, Param, Post, Query, Res, UseGuards } from '@nestjs/common';
import {
  ApiCreatedResponse,
  ApiHeader,
  ApiOkResponse,
  ApiOperation,
  ApiProduces,
  ApiProperty,
  ApiPropertyOptional,
  ApiTags,
} from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { ArrayMaxSize, ArrayMinSize, ArrayUnique, IsArray, IsInt, Matches, Max, Min } from 'class-validator';
import type { FastifyReply } from 'fastify';

import type { Standing } from '../sealed/current-standing.js';
import { GrantForDevices, MAX_BATCH_DEVICES } from '../sealed/grant-for-devices.js';
import { GrantResource } from '../sealed/grant-resource.js';
import { MOST_RESOURCES, ReadCatalogue } from '../sealed/read-catalogue.js';
import { type AnswerOf, IdParams, IsBase64UrlBytes, SegmentParams, SERIAL_PATTERN, bytesOf } from './dto.js';
import { FolderPath, ResourcePath } from './resource-path.js';
import { CallerStanding, CARRIER, StandingGuard } from './standing.js';

class GrantBody {
  @ApiProperty({
    description: 'base64url of the 65-byte SEC1 point',
    example: 'BP6MGc4JBRkevCmKkkV5JTHybwzs4kYGOei8Oct_cGqCanebTPlpuKDlOcf2L7PTCtaqj4DjDx0Siq_WiiznLqA',
  })
  @IsBase64UrlBytes(65)
  readonly recipientPublicKey!: string;

  @ApiPropertyOptional({ description: 'The newest when left out', example: 1 })
  @Optional()
  @IsInt()
  @Min(1)
  @Max(0x7fff_ffff)
  readonly version?: number;

  @ApiProperty({
    description: 'base64url, 16 to 64 bytes, fresh per request',
    example: 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8',
  })
  @IsBase64UrlBytes(16, 64)
  readonly nonce!: string;
}

class ExtentAnswer {
  @ApiProperty({ description: 'First byte in the pack', example: 0 })
  readonly start!: number;
  @ApiProperty({ description: 'Byte after the last', example: 131101 })
  readonly end!: number;
}

class CompactedPackAnswer {
  @ApiProperty()
  readonly url!: string;
  @ApiProperty({ description: 'Of the object at the URL, base64url' })
  readonly sha256!: string;
  @ApiProperty({
    type: [ExtentAnswer],
    maxItems: MAX_PACK_EXTENTS,
    description: 'What of the pack the object holds, one after the other',
  })
  readonly extents!: readonly AnswerOf<ExtentAnswer>[];
}

class PackUrlAnswer {
  @ApiProperty()
  readonly packId!: string;
  @ApiPropertyOptional({ description: 'Of the whole pack' })
  readonly url?: string;
  @ApiPropertyOptional({ type: CompactedPackAnswer, description: 'Instead of `url` where only a part is left' })
  readonly compacted?: AnswerOf<CompactedPackAnswer>;
}

class SealedKeyAnswer {
  @ApiProperty({ description: 'base64url, 65 bytes' })
  readonly enc!: string;
  @ApiProperty({ description: 'base64url' })
  readonly ciphertext!: string;
}

class GrantAnswerBody {
  @ApiProperty({ format: 'uuid' })
  readonly grantId!: string;
  @ApiProperty({ description: 'Compact JWS' })
  readonly statement!: string;
  @ApiProperty({ description: 'Compact JWS' })
  readonly grantToken!: string;
  @ApiProperty({ type: SealedKeyAnswer })
  readonly sealedRecipeKey!: AnswerOf<SealedKeyAnswer>;
  @ApiProperty({ type: [PackUrlAnswer] })
  readonly urls!: readonly AnswerOf<PackUrlAnswer>[];
  @ApiProperty({ description: 'Whether the verifier has passed this version' })
  readonly verified!: boolean;
}

class BatchBody {
  @ApiProperty({ type: [String], minItems: 1, maxItems: MAX_BATCH_DEVICES, example: ['azj-0000'] })
  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(MAX_BATCH_DEVICES)
  @ArrayUnique()
  @Matches(SERIAL_PATTERN, { each: true })
  readonly serials!: readonly string[];

  @ApiProperty({ description: 'A bundle is made of certain versions', example: 1 })
  @IsInt()
  @Min(1)
  @Max(0x7fff_ffff)
  readonly version!: number;

  @ApiPropertyOptional({
    minimum: MIN_LEASE_SECONDS,
    maximum: MAX_LEASE_SECONDS,
    example: 2592000,
    description: 'How long the leases hold; what the folder says when left out',
  })
  @Optional()
  @IsInt()
  @Min(MIN_LEASE_SECONDS)
  @Max(MAX_LEASE_SECONDS)
  readonly leaseSeconds?: number;
}

class DeviceGrantAnswer {
  @ApiProperty({ example: 'azj-0000' })
  readonly serial!: string;
  @ApiProperty({ format: 'uuid' })
  readonly grantId!: string;
  @ApiProperty({ description: 'Compact JWS' })
  readonly statement!: string;
  @ApiProperty({ description: 'Compact JWS' })
  readonly grantToken!: string;
  @ApiProperty({ type: SealedKeyAnswer })
  readonly sealedRecipeKey!: AnswerOf<SealedKeyAnswer>;
}

class BatchAnswer {
  @ApiProperty({ type: [DeviceGrantAnswer] })
  readonly grants!: readonly AnswerOf<DeviceGrantAnswer>[];
}

class ResourceAnswer {
  @ApiProperty({ example: 'ocr-recognition.onnx' })
  readonly name!: string;
  @ApiProperty({ enum: ['file', 'images'] })
  readonly kind!: string;
  @ApiProperty({ example: 1 })
  readonly latestVersion!: number;
  @ApiProperty({ example: 52428800 })
  readonly totalBytes!: number;
  @ApiProperty({ enum: ['pending', 'verified', 'bad'], description: 'How far the verifier is with this version' })
  readonly verification!: string;
  @ApiProperty({ format: 'date-time' })
  readonly updatedAt!: string;
}

class FolderEntryAnswer {
  @ApiProperty({ example: 'models' })
  readonly name!: string;
  @ApiProperty({ example: 3, description: 'Resources that the caller may see' })
  readonly resources!: number;
}

class FoldersAnswer {
  @ApiProperty({ type: [FolderEntryAnswer] })
  readonly folders!: readonly AnswerOf<FolderEntryAnswer>[];
  @ApiPropertyOptional({ description: 'Where there are more: asks for the next page' })
  readonly cursor?: string;
}

class PageLimit {
  @ApiPropertyOptional({ minimum: 1, maximum: MOST_RESOURCES, default: MOST_RESOURCES })
  @Optional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(MOST_RESOURCES)
  readonly limit: number = MOST_RESOURCES;
}

class NamesQuery extends PageLimit {
  @ApiPropertyOptional({ description: 'The `cursor` of the page before' })
  @Optional()
  @Matches(NAME_PATTERN)
  readonly cursor?: string;
}

class VersionsQuery extends PageLimit {
  @ApiPropertyOptional({ description: 'The `cursor` of the page before' })
  @Optional()
  @Matches(/^[1-9]\d{0,9}$/)
  readonly cursor?: string;
}

class FolderAnswer {
  @ApiProperty({ type: [ResourceAnswer] })
  readonly resources!: readonly AnswerOf<ResourceAnswer>[];
  @ApiPropertyOptional({ description: 'Where there are more: asks for the next page' })
  readonly cursor?: string;
}

class ListedVersionAnswer {
  @ApiProperty({ example: 1 })
  readonly version!: number;
  @ApiProperty({ example: 52428800 })
  readonly totalBytes!: number;
  @ApiProperty({ example: 8192 })
  readonly recipeBytes!: number;
  @ApiProperty({ description: 'E-mail address, or the id of an account that is gone' })
  readonly publisher!: string;
  @ApiProperty({ example: 'fleet', description: '`fleet`, or `device:` and a serial' })
  readonly scope!: string;
  @ApiProperty({ enum: ['live', 'withdrawn'] })
  readonly state!: string;
  @ApiProperty({ description: 'Whether the verifier has opened all of it and found what its publisher asserted' })
  readonly verified!: boolean;
  @ApiProperty({ enum: ['pending', 'verified', 'bad'], description: 'How far the verifier is' })
  readonly verification!: string;
  @ApiProperty({ format: 'date-time' })
  readonly committedAt!: string;
}

class VersionsAnswer {
  @ApiProperty({ example: 'ocr-recognition.onnx' })
  readonly name!: string;
  @ApiProperty({ enum: ['file', 'images'] })
  readonly kind!: string;
  @ApiProperty({
    nullable: true,
    type: Number,
    description: 'What requests without a version get instead of the newest',
  })
  readonly pinnedVersion!: number | null;
  @ApiProperty({ type: [ListedVersionAnswer] })
  readonly versions!: readonly AnswerOf<ListedVersionAnswer>[];
  @ApiPropertyOptional({ description: 'Where there are more: asks for the next page' })
  readonly cursor?: string;
}

class UrlsBody {
  @ApiProperty({ type: [String], minItems: 1, maxItems: MAX_PACK_URLS })
  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(MAX_PACK_URLS)
  @Matches(PACK_ID_PATTERN, { each: true })
  readonly packIds!: readonly string[];
}

/** F2: the catalogue and grants. Source: docs/reference/sealed-wire.md, "Fetch". */
@ApiTags('fetch')
@AnyRole()
@UseGuards(StandingGuard)
@ApiHeader(CARRIER)
@Controller('sealed')
export class GrantsController {
  constructor(
    private readonly grants: GrantResource,
    private readonly catalogue: ReadCatalogue,
    private readonly forDevices: GrantForDevices,
  ) {}

  @Get()
  @ApiOperation({ summary: 'The folders that the caller may read' })
  @ApiOkResponse({ type: FoldersAnswer })
  @ProblemResponses(400, 401, 403)
  async list(@Query() query: NamesQuery, @CallerStanding() standing: Standing): Promise<AnswerOf<FoldersAnswer>> {
    const { folders, cursor } = await this.catalogue.list(query, standing);
    return { folders, ...(cursor === undefined ? {} : { cursor }) };
  }

  @Get(':folder')
  @ApiOperation({ summary: 'What a folder holds' })
  @ApiOkResponse({ type: FolderAnswer, description: 'Resources with their newest version' })
  @ProblemResponses(400, 401, 403, 422)
  @FolderPath()
  async folder(
    @Param('folder') folder: string,
    @Query() query: NamesQuery,
    @CallerStanding() standing: Standing,
  ): Promise<AnswerOf<FolderAnswer>> {
    if (!isValidName(folder))
      throw new NameError('name.invalid', 'The folder name is not valid: use letters, digits, ".", "_" and "-".', {
        details: { field: 'folder' },
      });
    const { resources, cursor } = await this.catalogue.resources(folder, query, standing);
    return {
      resources: resources.map((entry) => ({ ...entry, updatedAt: entry.updatedAt.toISOString() })),
      ...(cursor === undefined ? {} : { cursor }),
    };
  }

  @Get(':folder/:name')
  @ApiOperation({ summary: 'The versions of a resource, newest first' })
  @ApiOkResponse({ type: VersionsAnswer, description: 'Versions, sizes, publishers' })
  @ProblemResponses(400, 401, 403, 404, 422)
  @ResourcePath()
  async resource(
    @Param('folder') folder: string,
    @Param('name') name: string,
    @Query() { limit, cursor: after }: VersionsQuery,
    @CallerStanding() standing: Standing,
  ): Promise<AnswerOf<VersionsAnswer>> {
    const page = { limit, cursor: after === undefined ? undefined : Number(after) };
    const { kind, pinnedVersion, versions, cursor } = await this.catalogue.versions(
      resourceName(folder, name),
      page,
      standing,
    );
    return {
      name,
      kind,
      pinnedVersion,
      versions: versions.map((entry) => ({
        ...entry,
        verified: entry.verification === 'verified',
        committedAt: entry.committedAt.toISOString(),
      })),
      ...(cursor === undefined ? {} : { cursor: String(cursor) }),
    };
  }

  @Post(':folder/:name/grants')
  @ApiOperation({ summary: 'Ask for a grant of one version, sealed to one key' })
  @ApiCreatedResponse({ type: GrantAnswerBody })
  @ProblemResponses(400, 401, 403, 404, 422)
  @ResourcePath()
  async grant(
    @Param('folder') folder: string,
    @Param('name') name: string,
    @Body() body: GrantBody,
    @CallerStanding() standing: Standing,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<AnswerOf<GrantAnswerBody>> {
    const resource = resourceName(folder, name);
    const request = {
      resource,
      version: body.version,
      recipientPoint: bytesOf(body.recipientPublicKey),
      nonce: body.nonce,
    };
    const grant = await this.grants.run(request, standing);
    void reply.header('cache-control', 'no-store');
    return {
      ...grant,
      urls: grant.urls.map(packUrlAnswer),
      sealedRecipeKey: {
        enc: toBase64Url(grant.sealedRecipeKey.enc),
        ciphertext: toBase64Url(grant.sealedRecipeKey.ciphertext),
      },
    };
  }

  @Post(':folder/:name/grants/batch')
  @AllowRoles('ApiAdmin')
  @HttpCode(200)
  @ApiOperation({ summary: 'Grants for named devices, each sealed to its key, for a bundle' })
  @ApiOkResponse({ type: BatchAnswer })
  @ProblemResponses(400, 401, 403, 404, 422)
  @ResourcePath()
  async batch(
    @Param('folder') folder: string,
    @Param('name') name: string,
    @Body() { serials, version, leaseSeconds }: BatchBody,
    @CallerStanding() standing: Standing,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<AnswerOf<BatchAnswer>> {
    const grants = await this.forDevices.run(
      { resource: resourceName(folder, name), version, leaseSeconds },
      serials,
      standing,
    );
    void reply.header('cache-control', 'no-store');
    return {
      grants: grants.map(({ serial, grant: { grantId, statement, grantToken, sealedRecipeKey } }) => ({
        serial,
        grantId,
        statement,
        grantToken,
        sealedRecipeKey: {
          enc: toBase64Url(sealedRecipeKey.enc),
          ciphertext: toBase64Url(sealedRecipeKey.ciphertext),
        },
      })),
    };
  }

  @Get('grants/:id/segments/:kind/:index')
  @ApiOperation({ summary: 'One sealed segment of a granted version' })
  @ApiProduces(BINARY_MEDIA_TYPE)
  @ApiOkResponse({ description: 'Ciphertext' })
  @ProblemResponses(400, 401, 403, 404)
  async segment(
    @Param() { id, kind, index }: SegmentParams,
    @CallerStanding() standing: Standing,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const sealed = await this.grants.segment(id, kind, index, standing);
    await reply.type(BINARY_MEDIA_TYPE).header('cache-control', 'private, no-store').send(sealed);
  }

  @Post('grants/:id/urls')
  @HttpCode(200)
  @ApiOperation({ summary: 'Signed URLs of packs of a granted version' })
  @ApiOkResponse({ type: [PackUrlAnswer] })
  @ProblemResponses(400, 401, 403, 404)
  async urls(
    @Param() { id }: IdParams,
    @Body() { packIds }: UrlsBody,
    @CallerStanding() standing: Standing,
  ): Promise<readonly AnswerOf<PackUrlAnswer>[]> {
    return (await this.grants.urls(id, packIds, standing)).map(packUrlAnswer);
  }
}

/** A compacted pack has no `url`: who does not know of extents must not take its object for the pack. */
function packUrlAnswer({ packId, url, compacted }: PackUrl): AnswerOf<PackUrlAnswer> {
  if (compacted === undefined) return { packId, url };
  return { packId, compacted: { url, extents: compacted.extents, sha256: toBase64Url(compacted.sha256) } };
}
