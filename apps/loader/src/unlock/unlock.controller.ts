import { Readable } from 'node:stream';

import { Secret } from '@azaion/kernel';
import { callerOf, OptionalCaller, Public, ProblemResponses } from '@azaion/nest-support';
import { UnlockImages, type UnlockState, type UnlockStatus } from '@azaion/unlock';
import { Body, Controller, Get, Headers, HttpCode, Post, Req, Res } from '@nestjs/common';
import { ApiAcceptedResponse, ApiBody, ApiOkResponse, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';

import { bearerOf } from '../http/bearer.js';
import type { TokenBearer } from '../session/caller-apis.js';
import { UNLOCK_EXAMPLES, UnlockAnswer, UnlockDto, UnlockStatusAnswer } from './unlock.dto.js';
import { UnlockEvents } from './unlock-events.js';
import { UNLOCK_ROLES, UnlockForCaller } from './unlock-for-caller.js';

interface UnlockStarted {
  readonly state: UnlockState;
}

/** F4, F5. */
@ApiTags('unlock')
@Controller('unlock')
export class UnlockController {
  constructor(
    private readonly forCaller: UnlockForCaller,
    private readonly unlock: UnlockImages,
    private readonly unlockEvents: UnlockEvents,
  ) {}

  @ProblemResponses(401, 404, 409, 429, 502, 504)
  @Post()
  @HttpCode(200)
  @OptionalCaller(...UNLOCK_ROLES)
  @ApiOperation({ summary: 'Open the image archive and load its images, unless they are there already' })
  @ApiBody({ type: UnlockDto, examples: UNLOCK_EXAMPLES })
  @ApiOkResponse({ type: UnlockAnswer })
  async start(@Body() body: UnlockDto, @Req() request: FastifyRequest): Promise<UnlockStarted> {
    const { state } = await this.forCaller.start(await this.caller(body, request));
    return { state };
  }

  @ProblemResponses(409)
  @Post('cancel')
  @HttpCode(202)
  @OptionalCaller(...UNLOCK_ROLES)
  @ApiOperation({ summary: 'Stop the run at work; it ends with the code unlock.cancelled' })
  @ApiBody({ type: UnlockDto, examples: UNLOCK_EXAMPLES })
  @ApiAcceptedResponse({ type: UnlockAnswer })
  async cancel(@Body() body: UnlockDto, @Req() request: FastifyRequest): Promise<UnlockStarted> {
    await this.caller(body, request);
    this.unlock.cancel();
    return { state: this.unlock.status().state };
  }

  @Get('status')
  @Public()
  @ApiOperation({ summary: 'How the unlock stands' })
  @ApiOkResponse({ type: UnlockStatusAnswer })
  status(): UnlockStatus {
    return this.unlock.status();
  }

  @Get('events')
  @Public()
  @ApiOperation({ summary: 'The status as server-sent events: every change, and each second while a run is at work' })
  @ApiProduces('text/event-stream')
  @ApiOkResponse({ type: UnlockStatusAnswer })
  async events(@Headers('last-event-id') lastEventId: string | undefined, @Res() reply: FastifyReply): Promise<void> {
    const events = Readable.from(this.unlockEvents.stream(lastEventId));
    await reply
      .headers({
        'content-type': 'text/event-stream',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
        // The connection of an ended stream must not keep an orderly shutdown waiting.
        connection: 'close',
      })
      .send(events);
  }

  private caller({ email, password }: UnlockDto, request: FastifyRequest): Promise<TokenBearer> {
    const bearer = callerOf(request) === undefined ? undefined : bearerOf(request);
    const credentials =
      email === undefined || password === undefined ? undefined : { email, password: new Secret(password) };
    return this.forCaller.callerOf(bearer, credentials, request.ip);
  }
}
