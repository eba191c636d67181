import type { Caller } from '@azaion/identity';
import { AllowRoles, CurrentCaller, ProblemResponses } from '@azaion/nest-support';
import { Body, Controller, Delete, Get, Headers, HttpCode, Ip, Param, Put, Query, Req, Res } from '@nestjs/common';
import {
  ApiExtraModels,
  ApiHeader,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiProperty,
  ApiPropertyOptional,
  ApiResponse,
  ApiTags,
} from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';

import { SetDesired } from '../desired/set-desired.js';
import { ManageGroups } from '../groups/manage-groups.js';
import { assertUnchanged, type ChangeHeaders, unlessKnown } from './conditional.js';
import {
  desiredOf,
  DesiredResourceAnswer,
  DesiredResourceBody,
  GroupDesiredAnswer,
  GroupDesiredBody,
  GroupParams,
  MemberParams,
} from './desired.dto.js';
import { type AnswerOf, PageQuery } from './dto.js';

class GroupAnswer {
  @ApiProperty({ example: 'canary' })
  readonly name!: string;
  @ApiProperty({ example: 0 })
  readonly priority!: number;
  @ApiProperty({ example: 12, description: 'How many devices belong to it' })
  readonly devices!: number;
  @ApiProperty({ format: 'date-time' })
  readonly updatedAt!: string;
}

class GroupsAnswer {
  @ApiProperty({ type: [GroupAnswer] })
  readonly groups!: readonly AnswerOf<GroupAnswer>[];
  @ApiPropertyOptional({ description: 'Where the next page begins; missing on the last' })
  readonly cursor?: string;
}

/** Groups of devices and what they should hold. Source: docs/reference/admin-http.md, "Desired state". */
@ApiTags('fleet')
@ApiExtraModels(DesiredResourceAnswer, DesiredResourceBody)
@Controller('groups')
export class GroupsController {
  constructor(
    private readonly groups: ManageGroups,
    private readonly setDesired: SetDesired,
  ) {}

  @Get()
  @AllowRoles('Admin', 'ApiAdmin')
  @ApiOperation({ summary: 'List groups in the order of their names' })
  @ApiOkResponse({ type: GroupsAnswer })
  @ProblemResponses(400, 401, 403)
  async list(@Query() { limit, cursor }: PageQuery): Promise<AnswerOf<GroupsAnswer>> {
    const page = await this.groups.list(limit, cursor);
    const groups = page.groups.map((group) => ({ ...group, updatedAt: group.updatedAt.toISOString() }));
    return { groups, ...(page.cursor === undefined ? {} : { cursor: page.cursor }) };
  }

  @Get(':name/desired')
  @AllowRoles('ApiAdmin')
  @ApiOperation({ summary: 'What the devices of a group should hold and run' })
  @ApiHeader({ name: 'If-None-Match', required: false })
  @ApiOkResponse({ type: GroupDesiredAnswer, description: 'With an `ETag`' })
  @ApiResponse({ status: 304, description: 'Unchanged' })
  @ProblemResponses(400, 401, 403, 404)
  async desired(
    @Param() { name }: GroupParams,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<AnswerOf<GroupDesiredAnswer> | undefined> {
    return unlessKnown(await this.groups.wishes(name), request, reply);
  }

  @Put(':name/desired')
  @HttpCode(204)
  @AllowRoles('ApiAdmin')
  @ApiOperation({ summary: 'Say what the devices of a group should hold and run; makes the group' })
  @ApiHeader({ name: 'If-Match', required: false, description: 'The `ETag` of what is to be replaced' })
  @ApiHeader({ name: 'If-None-Match', required: false, description: '`*`: only where there is nothing yet' })
  @ApiNoContentResponse({ description: 'Devices are told when they ask next' })
  @ProblemResponses(400, 401, 403, 412, 422)
  async replace(
    @Param() { name }: GroupParams,
    @Body() body: GroupDesiredBody,
    @Headers() headers: ChangeHeaders,
    @CurrentCaller() caller: Caller,
    @Ip() address: string,
  ): Promise<void> {
    const wishes = { priority: body.priority ?? 0, ...desiredOf(body) };
    const actor = { id: caller.userId, address };
    await this.setDesired.forGroup(name, wishes, (current) => assertUnchanged(headers, current), actor);
  }

  @Delete(':name')
  @HttpCode(204)
  @AllowRoles('ApiAdmin')
  @ApiOperation({ summary: 'Remove a group; its devices stay' })
  @ApiNoContentResponse({ description: 'Removed' })
  @ProblemResponses(400, 401, 403, 404)
  async remove(@Param() { name }: GroupParams, @CurrentCaller() caller: Caller, @Ip() address: string): Promise<void> {
    await this.groups.remove(name, { id: caller.userId, address });
  }

  @Put(':name/members/:serial')
  @HttpCode(204)
  @AllowRoles('ApiAdmin')
  @ApiOperation({ summary: 'Put a device into a group' })
  @ApiNoContentResponse({ description: 'It belongs to the group' })
  @ProblemResponses(400, 401, 403, 404)
  async add(
    @Param() { name, serial }: MemberParams,
    @CurrentCaller() caller: Caller,
    @Ip() address: string,
  ): Promise<void> {
    await this.groups.add(name, serial, { id: caller.userId, address });
  }

  @Delete(':name/members/:serial')
  @HttpCode(204)
  @AllowRoles('ApiAdmin')
  @ApiOperation({ summary: 'Take a device out of a group' })
  @ApiNoContentResponse({ description: 'It does not belong to the group' })
  @ProblemResponses(400, 401, 403, 404)
  async take(
    @Param() { name, serial }: MemberParams,
    @CurrentCaller() caller: Caller,
    @Ip() address: string,
  ): Promise<void> {
    await this.groups.take(name, serial, { id: caller.userId, address });
  }
}
