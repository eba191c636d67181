import type { Caller } from '@azaion/identity';
import { AllowRoles, CurrentCaller, ProblemResponses } from '@azaion/nest-support';
import { Body, Controller, Get, Headers, HttpCode, Ip, Param, Post, Put, Req, Res, UseGuards } from '@nestjs/common';
import {
  ApiExtraModels,
  ApiHeader,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiProperty,
  ApiResponse,
  ApiTags,
} from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';

import { DesiredOfDevice } from '../desired/desired-of-device.js';
import { type DesiredState, NOTHING_DESIRED } from '../desired/desired-state.js';
import { RecordReport } from '../desired/record-report.js';
import { SetDesired } from '../desired/set-desired.js';
import { AdminError } from '../errors.js';
import type { Standing } from '../sealed/current-standing.js';
import { assertUnchanged, type ChangeHeaders, etagOf, unlessKnown } from './conditional.js';
import {
  DesiredAnswer,
  DesiredBody,
  desiredOf,
  EffectiveAnswer,
  EffectiveResourceAnswer,
  ReportBody,
  RunningImagesBody,
  ToldAnswer,
  ToldResourceAnswer,
} from './desired.dto.js';
import { type AnswerOf, SerialParams } from './dto.js';
import { CallerStanding, StandingGuard } from './standing.js';

class DeviceDesiredAnswer extends DesiredAnswer {
  @ApiProperty({ type: EffectiveAnswer, description: 'What the device is told, with the wishes for its groups' })
  readonly effective!: AnswerOf<EffectiveAnswer>;
}

/** What single devices should hold, and what they say they do. Source: docs/reference/admin-http.md, "Desired state". */
@ApiTags('fleet')
@ApiExtraModels(EffectiveResourceAnswer, RunningImagesBody, ToldResourceAnswer)
@Controller('devices')
export class DesiredController {
  constructor(
    private readonly desiredOfDevice: DesiredOfDevice,
    private readonly setDesired: SetDesired,
    private readonly recordReport: RecordReport,
  ) {}

  @Get('me/desired')
  @AllowRoles('CompanionPC')
  @UseGuards(StandingGuard)
  @ApiOperation({ summary: 'What the calling device should hold and run' })
  @ApiHeader({ name: 'If-None-Match', required: false, description: 'The `ETag` of the last answer' })
  @ApiOkResponse({ type: ToldAnswer, description: 'With an `ETag`, which also changes when `latest` does' })
  @ApiResponse({ status: 304, description: 'Unchanged' })
  @ProblemResponses(401, 403, 404)
  async told(
    @CallerStanding() standing: Standing,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<AnswerOf<ToldAnswer> | undefined> {
    return unlessKnown(await this.desiredOfDevice.told(standing.deviceSerial ?? ''), request, reply);
  }

  @Post(':serial/report')
  @HttpCode(204)
  @AllowRoles('CompanionPC')
  @UseGuards(StandingGuard)
  @ApiOperation({ summary: 'Say what the calling device holds and runs' })
  @ApiNoContentResponse({ description: 'Kept; the last report counts' })
  @ProblemResponses(400, 401, 403, 404)
  async report(
    @Param() { serial }: SerialParams,
    @Body() { loaderVersion, binding, resources, images }: ReportBody,
    @CallerStanding() standing: Standing,
  ): Promise<void> {
    // Another device does not exist for this caller.
    if (serial !== standing.deviceSerial) throw new AdminError('device.not-found', 'There is no such device.');
    await this.recordReport.run(serial, { loaderVersion, binding, resources, images: images ?? null });
  }

  @Get(':serial/desired')
  @AllowRoles('ApiAdmin')
  @ApiOperation({ summary: 'What one device should hold and run, alone and with its groups' })
  @ApiOkResponse({ type: DeviceDesiredAnswer, description: 'With the `ETag` of the device’s own wishes' })
  @ProblemResponses(400, 401, 403, 404)
  async desired(
    @Param() { serial }: SerialParams,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<AnswerOf<DeviceDesiredAnswer>> {
    const { own, effective } = await this.desiredOfDevice.wishes(serial);
    void reply.headers({ etag: etagOf(own), 'cache-control': 'private, no-store' });
    return { ...own, effective };
  }

  @Put(':serial/desired')
  @HttpCode(204)
  @AllowRoles('ApiAdmin')
  @ApiOperation({ summary: 'Say what one device should hold and run, before what its groups say' })
  @ApiHeader({ name: 'If-Match', required: false, description: 'The `ETag` of what is to be replaced' })
  @ApiHeader({ name: 'If-None-Match', required: false, description: '`*`: only where there is nothing yet' })
  @ApiNoContentResponse({ description: 'The device is told when it asks next' })
  @ProblemResponses(400, 401, 403, 404, 412, 422)
  async replace(
    @Param() { serial }: SerialParams,
    @Body() body: DesiredBody,
    @Headers() headers: ChangeHeaders,
    @CurrentCaller() caller: Caller,
    @Ip() address: string,
  ): Promise<void> {
    const actor = { id: caller.userId, address };
    const precondition = (current: DesiredState | undefined): void =>
      assertUnchanged(headers, current, current ?? NOTHING_DESIRED);
    await this.setDesired.forDevice(serial, desiredOf(body), precondition, actor);
  }
}
