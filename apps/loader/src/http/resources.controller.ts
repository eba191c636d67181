import { AnyRole, invalidRequest, OptionalCaller, ProblemResponses } from '@azaion/nest-support';
import type { OpenedResource } from '@azaion/split-resource';
import { Body, Controller, Get, Head, HttpCode, Param, Post, Query, Req, Res, UseGuards } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';

import { OpenForCaller } from '../session/open-for-caller.js';
import { bearerOf } from './bearer.js';
import { entityHeaders, wantedPart } from './entity-headers.js';
import { FilenameParam, FolderParam, LoadDto, ResourceParam, VersionQuery } from './names.dto.js';
import { RequestBearer, TokenOrLocalGuard } from './request-bearer.js';
import { clientGone, sendResource } from './send-resource.js';

const BINARY = { schema: { type: 'string' as const, format: 'binary' } };

/** F2. */
@ApiTags('resources')
@Controller()
@AnyRole()
export class ResourcesController {
  constructor(
    private readonly open: OpenForCaller,
    private readonly bearer: RequestBearer,
  ) {}

  @ProblemResponses(404, 409, 416, 429, 502, 504, 507)
  @Post('load/:filename')
  @HttpCode(200)
  @OptionalCaller()
  @UseGuards(TokenOrLocalGuard)
  @ApiOperation({ summary: 'Download the newest version of a resource, opened' })
  @ApiProduces('application/octet-stream')
  @ApiOkResponse({ description: 'The plaintext', ...BINARY })
  async load(
    @Param() { filename }: FilenameParam,
    @Body() body: LoadDto,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    if (body.filename !== filename)
      throw invalidRequest(422, [{ field: 'filename', messages: ['must be the name in the address'] }]);
    const signal = clientGone(reply);
    const bearer = await this.bearer.of(request);
    const resource = await this.open.newest({ folder: body.folder, name: filename }, bearer, signal);
    await sendResource(reply, resource, undefined, signal);
  }

  // Before the GET route: the framework would otherwise derive a HEAD route from it that does the whole work.
  @Head('resources/:folder/:filename')
  @ApiOperation({ summary: 'Size and version of a resource' })
  async head(
    @Param() name: ResourceParam,
    @Query() query: VersionQuery,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const resource = await this.opened(name, query, request, clientGone(reply));
    const notModified = wantedPart({ 'if-none-match': request.headers['if-none-match'] }, resource.etag, 0);
    void reply
      .status(notModified.kind === 'not-modified' ? 304 : 200)
      .headers({ ...entityHeaders(resource), 'content-length': String(resource.statement.totalBytes) });
    await reply.send();
  }

  @ProblemResponses(404, 409, 416, 429, 502, 504, 507)
  @Get('resources/:folder/:filename')
  @ApiOperation({ summary: 'Download a resource or a range of it, opened' })
  @ApiProduces('application/octet-stream')
  @ApiOkResponse({ description: 'The plaintext', ...BINARY })
  async read(
    @Param() name: ResourceParam,
    @Query() query: VersionQuery,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const signal = clientGone(reply);
    const resource = await this.opened(name, query, request, signal);
    const wanted = wantedPart(request.headers, resource.etag, resource.statement.totalBytes);
    if (wanted.kind === 'not-modified') {
      await reply.status(304).headers(entityHeaders(resource)).send();
      return;
    }
    await sendResource(reply, resource, wanted.kind === 'range' ? wanted.range : undefined, signal);
  }

  @ProblemResponses(429, 502, 504)
  @Get('resources/:folder')
  @ApiOperation({ summary: 'List a folder' })
  async list(
    @Param() { folder }: FolderParam,
    @Req() request: FastifyRequest,
  ): Promise<{ readonly resources: readonly object[] }> {
    return { resources: await this.open.list(folder, bearerOf(request)) };
  }

  private opened(
    name: ResourceParam,
    { version }: VersionQuery,
    request: FastifyRequest,
    signal: AbortSignal,
  ): Promise<OpenedResource> {
    const resource = { folder: name.folder, name: name.filename };
    return version === undefined
      ? this.open.newest(resource, bearerOf(request), signal)
      : this.open.version(resource, version, bearerOf(request), signal);
  }
}
