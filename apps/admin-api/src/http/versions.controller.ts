import { resourceName } from '@azaion/kernel';
import { AllowRoles, AnyRole, ProblemResponses } from '@azaion/nest-support';
import { MAX_CHUNK_SEGMENTS, RECORDS_PER_SEGMENT } from '@azaion/split-resource';
import { Body, Controller, Delete, HttpCode, Param, Post, UseGuards } from '@nestjs/common';
import {
  ApiAcceptedResponse,
  ApiCreatedResponse,
  ApiHeader,
  ApiNoContentResponse,
  ApiOperation,
  ApiProperty,
  ApiTags,
} from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsInt, IsString, Max, Min } from 'class-validator';

import type { Standing } from '../sealed/current-standing.js';
import { Folders } from '../sealed/folders.js';
import { ManageVersions } from '../sealed/manage-versions.js';
import { ReportBadChunk } from '../sealed/report-bad-chunk.js';
import type { AnswerOf } from './dto.js';
import { EmptyBody } from './empty-body.js';
import { FolderPath, ResourcePath } from './resource-path.js';
import { CallerStanding, CARRIER, StandingGuard } from './standing.js';

const MAX_VERSION = 0x7fff_ffff;

class VersionParams {
  @ApiProperty({ example: 'models' })
  @IsString()
  readonly folder!: string;

  @ApiProperty({ example: 'ocr-recognition.onnx' })
  @IsString()
  readonly name!: string;

  @ApiProperty({ minimum: 1, example: 1 })
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(MAX_VERSION)
  readonly version!: number;
}

class BadChunkBody {
  @ApiProperty({ description: 'Index of the chunk in the version, from 0', example: 0 })
  @IsInt()
  @Min(0)
  @Max(MAX_CHUNK_SEGMENTS * RECORDS_PER_SEGMENT - 1)
  readonly chunk!: number;
}

class PinBody {
  @ApiProperty({ minimum: 1, example: 2 })
  @IsInt()
  @Min(1)
  @Max(MAX_VERSION)
  readonly version!: number;
}

class DedupDomainAnswer {
  @ApiProperty({ description: 'Number of the new dedup domain', example: 1 })
  readonly domain!: number;
}

/** What happens to versions after their commit. Source: docs/reference/sealed-wire.md, "Versions". */
@ApiTags('versions')
@UseGuards(StandingGuard)
@ApiHeader(CARRIER)
@Controller('sealed')
export class VersionsController {
  constructor(
    private readonly versions: ManageVersions,
    private readonly reports: ReportBadChunk,
    private readonly folders: Folders,
  ) {}

  @Post(':folder/:name/versions/:version/bad-chunk')
  @AnyRole()
  @HttpCode(202)
  @ApiOperation({ summary: 'Report a chunk that does not open; the verifier looks and decides' })
  @ApiAcceptedResponse({ description: 'The verifier will look' })
  @ProblemResponses(400, 401, 403, 404, 422)
  async badChunk(
    @Param() { folder, name, version }: VersionParams,
    @Body() { chunk }: BadChunkBody,
    @CallerStanding() standing: Standing,
  ): Promise<void> {
    await this.reports.run(resourceName(folder, name), version, chunk, standing);
  }

  @Post(':folder/:name/versions/:version/promote')
  @AllowRoles('ApiAdmin')
  @EmptyBody()
  @HttpCode(204)
  @ApiOperation({ summary: 'Give a version that a device published to the fleet' })
  @ApiNoContentResponse({ description: 'It is the fleet’s' })
  @ProblemResponses(400, 401, 403, 404, 409, 422)
  async promote(
    @Param() { folder, name, version }: VersionParams,
    @CallerStanding() standing: Standing,
  ): Promise<void> {
    await this.versions.promote(resourceName(folder, name), version, standing);
  }

  @Post(':folder/:name/versions/:version/withdraw')
  @AllowRoles('ApiAdmin')
  @EmptyBody()
  @HttpCode(204)
  @ApiOperation({ summary: 'End all grants of a version, for good' })
  @ApiNoContentResponse({ description: 'It is withdrawn' })
  @ProblemResponses(400, 401, 403, 404, 409, 422)
  async withdraw(
    @Param() { folder, name, version }: VersionParams,
    @CallerStanding() standing: Standing,
  ): Promise<void> {
    await this.versions.withdraw(resourceName(folder, name), version, standing);
  }

  @Post(':folder/:name/pin')
  @AllowRoles('ApiAdmin')
  @HttpCode(204)
  @ApiOperation({ summary: 'Let requests without a version get a certain one, also where a newer one was used' })
  @ApiNoContentResponse({ description: 'It is pinned' })
  @ProblemResponses(400, 401, 403, 404, 409, 422)
  @ResourcePath()
  async pin(
    @Param('folder') folder: string,
    @Param('name') name: string,
    @Body() { version }: PinBody,
    @CallerStanding() standing: Standing,
  ): Promise<void> {
    await this.versions.pin(resourceName(folder, name), version, standing);
  }

  @Delete(':folder/:name/pin')
  @AllowRoles('ApiAdmin')
  @EmptyBody()
  @HttpCode(204)
  @ApiOperation({ summary: 'Take a pin away' })
  @ApiNoContentResponse({ description: 'Requests without a version get the newest' })
  @ProblemResponses(400, 401, 403, 404, 422)
  @ResourcePath()
  async unpin(
    @Param('folder') folder: string,
    @Param('name') name: string,
    @CallerStanding() standing: Standing,
  ): Promise<void> {
    await this.versions.unpin(resourceName(folder, name), standing);
  }

  @Post(':folder/rotate-dedup-key')
  @AllowRoles('ApiAdmin')
  @EmptyBody()
  @ApiOperation({
    summary: 'Start a new dedup domain: what is published from now on shares no key with what was before',
  })
  @ApiCreatedResponse({ type: DedupDomainAnswer })
  @ProblemResponses(400, 401, 403, 404, 422)
  @FolderPath()
  async rotateDedupKey(
    @Param('folder') folder: string,
    @CallerStanding() standing: Standing,
  ): Promise<AnswerOf<DedupDomainAnswer>> {
    return { domain: await this.folders.rotateDedupKey(folder, standing) };
  }
}
