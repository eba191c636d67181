import {
  type Caller,
  defaultFolderPolicy,
  type FolderPolicy,
  MAX_LEASE_SECONDS,
  MIN_LEASE_SECONDS,
  parseRole,
  type Role,
  WORKING_ROLES,
} from '@azaion/identity';
import { NAME_PATTERN } from '@azaion/kernel';
import { AllowRoles, CurrentCaller, invalidRequest, Optional, ProblemResponses } from '@azaion/nest-support';
import { Body, Controller, Get, Ip, Param, Put } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProperty, ApiPropertyOptional, ApiTags } from '@nestjs/swagger';
import { ArrayMaxSize, ArrayUnique, IsArray, IsBoolean, IsInt, Matches, Max, Min, ValidateIf } from 'class-validator';

import { FolderPolicies } from '../sealed/folder-policies.js';
import type { AnswerOf } from './dto.js';
import { IsRole } from './is-role.js';

const MAX_QUOTA_BYTES = 2 ** 50;
const MAX_ROLES = 16;

class FolderParams {
  @ApiProperty({ example: 'models' })
  @Matches(NAME_PATTERN)
  readonly folder!: string;
}

class PolicyBody {
  @ApiPropertyOptional({
    enum: WORKING_ROLES,
    isArray: true,
    description: 'By name or number',
    example: ['Operator', 'CompanionPC', 'ResourceUploader', 'ApiAdmin'],
  })
  @Optional()
  @IsArray()
  @ArrayMaxSize(MAX_ROLES)
  @ArrayUnique()
  @IsRole({ each: true })
  readonly read?: readonly (string | number)[];

  @ApiPropertyOptional({
    enum: WORKING_ROLES,
    isArray: true,
    description: 'By name or number',
    example: ['ResourceUploader', 'ApiAdmin'],
  })
  @Optional()
  @IsArray()
  @ArrayMaxSize(MAX_ROLES)
  @ArrayUnique()
  @IsRole({ each: true })
  readonly write?: readonly (string | number)[];

  @ApiPropertyOptional({
    minimum: MIN_LEASE_SECONDS,
    maximum: MAX_LEASE_SECONDS,
    example: 604800,
    description: 'How long devices may open what they were granted while offline',
  })
  @Optional()
  @IsInt()
  @Min(MIN_LEASE_SECONDS)
  @Max(MAX_LEASE_SECONDS)
  readonly leaseSeconds?: number;

  @ApiPropertyOptional({
    type: Number,
    nullable: true,
    minimum: 0,
    maximum: MAX_QUOTA_BYTES,
    example: 1099511627776,
    description: 'Most bytes of packs and of older clients’ files, in one sum; null for no limit',
  })
  @Optional()
  @ValidateIf((_, value) => value !== null)
  @IsInt()
  @Min(0)
  @Max(MAX_QUOTA_BYTES)
  readonly quotaBytes?: number | null;

  @ApiPropertyOptional({ example: false, description: 'Grants for attested devices only' })
  @Optional()
  @IsBoolean()
  readonly requireAttestation?: boolean;

  @ApiPropertyOptional({ example: false, description: 'Grants for people although attestation is required' })
  @Optional()
  @IsBoolean()
  readonly peopleMayRead?: boolean;
}

class PolicyAnswer {
  @ApiProperty({ example: 'models' })
  readonly folder!: string;
  @ApiProperty({ enum: WORKING_ROLES, isArray: true })
  readonly read!: readonly Role[];
  @ApiProperty({ enum: WORKING_ROLES, isArray: true })
  readonly write!: readonly Role[];
  @ApiProperty({ example: 604800 })
  readonly leaseSeconds!: number;
  @ApiProperty({ type: Number, nullable: true })
  readonly quotaBytes!: number | null;
  @ApiProperty()
  readonly requireAttestation!: boolean;
  @ApiProperty()
  readonly peopleMayRead!: boolean;
}

/** The rules of folders. */
@ApiTags('folders')
@AllowRoles('ApiAdmin')
@Controller('folders')
export class FoldersController {
  constructor(private readonly policies: FolderPolicies) {}

  @Get(':folder')
  @ApiOperation({ summary: 'What holds for a folder' })
  @ApiOkResponse({ type: PolicyAnswer })
  @ProblemResponses(400, 401, 403)
  async read(@Param() { folder }: FolderParams): Promise<AnswerOf<PolicyAnswer>> {
    return toAnswer(folder, await this.policies.of(folder));
  }

  @Put(':folder')
  @ApiOperation({ summary: 'Replace the rules of a folder; what is left out becomes the default' })
  @ApiOkResponse({ type: PolicyAnswer })
  @ProblemResponses(400, 401, 403)
  async replace(
    @Param() { folder }: FolderParams,
    @Body() body: PolicyBody,
    @CurrentCaller() caller: Caller,
    @Ip() address: string,
  ): Promise<AnswerOf<PolicyAnswer>> {
    const standard = defaultFolderPolicy(folder);
    const policy: FolderPolicy = {
      read: rolesOf('read', body.read ?? standard.read),
      write: rolesOf('write', body.write ?? standard.write),
      leaseSeconds: body.leaseSeconds ?? standard.leaseSeconds,
      quotaBytes: body.quotaBytes ?? undefined,
      requireAttestation: body.requireAttestation ?? standard.requireAttestation,
      peopleMayRead: body.peopleMayRead ?? standard.peopleMayRead,
    };
    await this.policies.replace(folder, policy, { id: caller.userId, address });
    return toAnswer(folder, policy);
  }
}

/** `None` is no role that anything can be given to: refused by name instead of being passed over. */
function rolesOf(field: string, values: readonly unknown[]): readonly Role[] {
  const roles = [...new Set(values.map((value) => parseRole(value) ?? 'None'))];
  if (roles.includes('None')) throw invalidRequest(400, [{ field, messages: ['must not name the role None'] }]);
  return roles;
}

function toAnswer(folder: string, policy: FolderPolicy): AnswerOf<PolicyAnswer> {
  return { folder, ...policy, quotaBytes: policy.quotaBytes ?? null };
}
