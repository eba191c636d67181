import type { IncomingMessage } from 'node:http';

import { BINARY_MEDIA_TYPE, OptionalCaller, ProblemResponses } from '@azaion/nest-support';
import { Controller, HttpCode, Param, Post, Query, Req, UseGuards } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProperty, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';

import { PublishForCaller } from '../session/publish-for-caller.js';
import { DEFAULT_FOLDER, FilenameParam, UploadQuery } from './names.dto.js';
import type { Plain } from './plain.js';
import { RequestBearer, TokenOrLocalGuard } from './request-bearer.js';
import { readUploadBody } from './upload-body.js';

/** Answer of `POST /upload/{filename}`. */
export class UploadAnswer {
  @ApiProperty({ example: 'ok' })
  readonly status!: 'ok';

  @ApiProperty({ example: 2 })
  readonly version!: number;

  @ApiProperty({ example: 10_485_760, description: 'Size of the file' })
  readonly bytes!: number;

  @ApiProperty({ example: 131_072, description: 'Sealed bytes that were sent to the CDN' })
  readonly uploadedBytes!: number;

  @ApiProperty({ example: 10_354_688, description: 'Bytes that were there already' })
  readonly dedupedBytes!: number;
}

/** What {@link readUploadBody} reads. A body of each media type has a schema of its own, which `ApiBody` cannot say. */
const UPLOAD_BODIES = {
  'multipart/form-data': {
    schema: {
      type: 'object' as const,
      required: ['data'],
      properties: {
        folder: {
          type: 'string' as const,
          default: DEFAULT_FOLDER,
          description: 'Must come before the file',
        },
        data: { type: 'string' as const, format: 'binary', description: 'The file; `file` is another name for it' },
      },
    },
  },
  [BINARY_MEDIA_TYPE]: { schema: { type: 'string' as const, format: 'binary', description: 'The file, as it is' } },
};

/** How long a client may go on sending what nobody reads. */
const LINGER_MS = 2_000;

/** F3. */
@ApiTags('resources')
@Controller()
@OptionalCaller()
@UseGuards(TokenOrLocalGuard)
export class UploadController {
  constructor(
    private readonly publish: PublishForCaller,
    private readonly bearer: RequestBearer,
  ) {}

  @ProblemResponses(404, 409, 413, 429, 502, 504, 507)
  @Post('upload/:filename')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Publish a file: nothing is visible until it is complete',
    requestBody: { required: true, content: UPLOAD_BODIES },
  })
  @ApiOkResponse({ type: UploadAnswer })
  async upload(
    @Param() { filename }: FilenameParam,
    @Query() query: UploadQuery,
    @Req() request: FastifyRequest,
  ): Promise<Plain<UploadAnswer>> {
    const bearer = await this.bearer.of(request);
    const gone = new AbortController();
    request.raw.once('close', () => {
      if (!request.raw.complete) gone.abort(new Error('the client closed the connection'));
    });
    try {
      const { folder, content } = await readUploadBody(request, query.folder);
      const resource = { folder, name: filename };
      const result = await this.publish.run(resource, query.kind ?? 'file', content, bearer, gone.signal);
      const { version, bytes, uploadedBytes, dedupedBytes } = result;
      return { status: 'ok', version, bytes, uploadedBytes, dedupedBytes };
    } finally {
      dropRest(request.raw);
    }
  }
}

/** Reads a refused body on and drops it, so that the client sees its answer; who is not done soon is cut off (RFC 9112 §9.6). */
function dropRest(request: IncomingMessage): void {
  if (request.complete) return;
  request.unpipe();
  request.resume();
  const timer = setTimeout(() => request.destroy(), LINGER_MS).unref();
  request.once('close', () => clearTimeout(timer));
}
