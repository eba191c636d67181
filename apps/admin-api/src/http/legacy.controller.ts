import { once } from 'node:events';
import { Readable } from 'node:stream';

import type { Caller } from '@azaion/identity';
import { isValidName, NAME_PATTERN, NameError, resourceName, Secret } from '@azaion/kernel';
import {
  AllowRoles,
  AnyRole,
  BINARY_MEDIA_TYPE,
  CurrentCaller,
  HttpProblem,
  invalidRequest,
  multipartContent,
  type MultipartPart,
  multipartParts,
  Optional,
  ProblemResponses,
} from '@azaion/nest-support';
import { Body, Controller, Get, HttpCode, Param, Post, Put, Query, Req, Res } from '@nestjs/common';
import {
  ApiBody,
  ApiConsumes,
  ApiCreatedResponse,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiProduces,
  ApiProperty,
  ApiPropertyOptional,
  ApiTags,
} from '@nestjs/swagger';
import { IsString, Matches, MaxLength } from 'class-validator';
import type { FastifyReply, FastifyRequest } from 'fastify';

import { deviceOf, FetchLegacyFile } from '../legacy/fetch-legacy-file.js';
import { KeyFragments } from '../legacy/key-fragments.js';
import { LegacyFiles } from '../legacy/legacy-files.js';
import { actorOf, type Standing } from '../sealed/current-standing.js';
import { Folders } from '../sealed/folders.js';
import { MAX_PASSWORD_CHARS } from '../tokens/password-hasher.js';
import type { AnswerOf } from './dto.js';
import { EmptyBody } from './empty-body.js';
import { CallerStanding } from './standing.js';

/** Where older clients keep what has no folder. */
const ROOT = '';
/** Words of our own under `/resources`; `check` is an address that was retired. */
const RESERVED_FOLDERS = ['get', 'list', 'clear', 'check'];
const DEFAULT_ARCHIVE = 'images';

class DataFolderParams {
  @ApiProperty({ example: 'models' })
  @Matches(NAME_PATTERN)
  readonly dataFolder!: string;
}

class SearchQuery {
  @ApiPropertyOptional({ description: 'Part of the name' })
  @Optional()
  @IsString()
  @MaxLength(200)
  readonly search?: string;
}

class GetBody {
  @ApiProperty({
    example: 'correct horse battery staple',
    description: 'Of the caller; the names of members in any case',
  })
  readonly password!: string;
  @ApiProperty({ example: 'ocr-recognition.onnx.small' })
  readonly fileName!: string;
}

class StoredAnswer {
  @ApiProperty({ example: 'ocr-recognition.onnx.small' })
  readonly fileName!: string;
  @ApiProperty({ example: 3072 })
  readonly sizeBytes!: number;
}

class ArchiveQuery {
  @ApiPropertyOptional({ default: DEFAULT_ARCHIVE })
  @Optional()
  @Matches(NAME_PATTERN)
  readonly archive: string = DEFAULT_ARCHIVE;
}

class ArchiveParams {
  @ApiProperty({ example: DEFAULT_ARCHIVE })
  @Matches(NAME_PATTERN)
  readonly name!: string;
}

const MULTIPART_BODY = {
  schema: {
    type: 'object' as const,
    properties: { data: { type: 'string' as const, format: 'binary' } },
    required: ['data'],
  },
};

/** Files of older clients and Loaders. Source: docs/formats/legacy.md. */
@ApiTags('older clients')
@AnyRole()
@Controller('resources')
export class LegacyResourcesController {
  constructor(
    private readonly folders: Folders,
    private readonly files: LegacyFiles,
    private readonly fetchFile: FetchLegacyFile,
  ) {}

  @Post()
  @HttpCode(200)
  @ApiOperation({ summary: 'Store a file outside of any folder' })
  @ApiConsumes('multipart/form-data')
  @ApiBody(MULTIPART_BODY)
  @ApiOkResponse({ type: StoredAnswer })
  @ProblemResponses(400, 401, 403, 413, 415, 422)
  store(@Req() request: FastifyRequest, @CallerStanding() standing: Standing): Promise<AnswerOf<StoredAnswer>> {
    return this.storeIn(ROOT, request, standing);
  }

  @Post('get')
  @HttpCode(200)
  @ApiOperation({ summary: 'Fetch a file outside of any folder, under the key of e-mail address and password' })
  @ApiBody({ type: GetBody })
  @ApiProduces(BINARY_MEDIA_TYPE)
  @ApiOkResponse({ description: 'IV and AES-256-CBC ciphertext' })
  @ProblemResponses(400, 401, 403, 404, 409, 429)
  fetch(
    @Body() body: object,
    @CurrentCaller() caller: Caller,
    @CallerStanding() standing: Standing,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    return this.fetchFrom(ROOT, body, caller, standing, reply);
  }

  @Post('get/:dataFolder')
  @HttpCode(200)
  @ApiOperation({ summary: 'Fetch a file of a folder, under the key of e-mail address and password' })
  @ApiBody({ type: GetBody })
  @ApiProduces(BINARY_MEDIA_TYPE)
  @ApiOkResponse({ description: 'IV and AES-256-CBC ciphertext' })
  @ProblemResponses(400, 401, 403, 404, 409, 429)
  fetchOfFolder(
    @Param() { dataFolder }: DataFolderParams,
    @Body() body: object,
    @CurrentCaller() caller: Caller,
    @CallerStanding() standing: Standing,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    return this.fetchFrom(dataFolder, body, caller, standing, reply);
  }

  @Get('list')
  @ApiOperation({ summary: 'Names of files outside of any folder' })
  @ApiOkResponse({ type: [String] })
  @ProblemResponses(400, 401, 403)
  list(
    @Query() { search }: SearchQuery,
    @CallerStanding() standing: Standing,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    return this.listOf(ROOT, search, standing, reply);
  }

  @Get('list/:dataFolder')
  @ApiOperation({ summary: 'Names of the files of a folder; none of one that does not exist' })
  @ApiOkResponse({ type: [String] })
  @ProblemResponses(400, 401, 403)
  listOfFolder(
    @Param() { dataFolder }: DataFolderParams,
    @Query() { search }: SearchQuery,
    @CallerStanding() standing: Standing,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    return this.listOf(dataFolder, search, standing, reply);
  }

  @Post('clear')
  @EmptyBody()
  @HttpCode(204)
  @AllowRoles('ApiAdmin')
  @ApiOperation({ summary: 'Delete the files outside of any folder' })
  @ApiNoContentResponse({ description: 'Deleted' })
  @ProblemResponses(400, 401, 403)
  clear(@CallerStanding() standing: Standing): Promise<void> {
    return this.files.clear(ROOT, actorOf(standing));
  }

  @Post('clear/:dataFolder')
  @EmptyBody()
  @HttpCode(204)
  @AllowRoles('ApiAdmin')
  @ApiOperation({ summary: 'Delete the older clients’ files of a folder' })
  @ApiNoContentResponse({ description: 'Deleted' })
  @ProblemResponses(400, 401, 403)
  clearFolder(@Param() { dataFolder }: DataFolderParams, @CallerStanding() standing: Standing): Promise<void> {
    return this.files.clear(dataFolder, actorOf(standing));
  }

  @Post(':dataFolder')
  @HttpCode(200)
  @ApiOperation({ summary: 'Store a file in a folder, in place of the one of its name' })
  @ApiConsumes('multipart/form-data')
  @ApiBody(MULTIPART_BODY)
  @ApiOkResponse({ type: StoredAnswer })
  @ProblemResponses(400, 401, 403, 413, 415, 422)
  storeInFolder(
    @Param() { dataFolder }: DataFolderParams,
    @Req() request: FastifyRequest,
    @CallerStanding() standing: Standing,
  ): Promise<AnswerOf<StoredAnswer>> {
    if (RESERVED_FOLDERS.includes(dataFolder))
      throw new NameError('name.invalid', 'This folder name is in use by the API itself: choose another.', {
        details: { field: 'dataFolder' },
      });
    return this.storeIn(dataFolder, request, standing);
  }

  private async storeIn(folder: string, request: FastifyRequest, standing: Standing): Promise<AnswerOf<StoredAnswer>> {
    await this.folders.assertMayWrite(folder, standing);
    if (!request.isMultipart())
      throw new HttpProblem(
        'request.unsupported-media-type',
        'Send the file as multipart/form-data, in the part "data".',
      );
    const parts = multipartParts(request, { preservePath: true });
    const first = await parts.next();
    if (first.done === true) throw invalidRequest(400, [{ field: 'data', messages: ['is required'] }]);
    const part = first.value;
    if (part.type !== 'file' || part.fieldname !== 'data') {
      if (part.type === 'file') part.file.resume();
      throw unknownPart(part);
    }
    if (!isValidName(part.filename)) {
      part.file.resume();
      resourceName('data', part.filename);
    }
    const content = onlyPart(part.file, parts);
    const upload = {
      folder,
      name: part.filename,
      owner: deviceOf(standing),
      announcedBytes: announcedBytes(request),
    };
    const sizeBytes = await this.files.write(upload, content, actorOf(standing)).catch((error: unknown) => {
      part.file.resume(); // read away what is left, or the answer would wait for it
      throw error;
    });
    return { fileName: part.filename, sizeBytes };
  }

  private async fetchFrom(
    folder: string,
    body: object,
    caller: Caller,
    standing: Standing,
    reply: FastifyReply,
  ): Promise<void> {
    const { password, fileName } = membersInAnyCase(body);
    await this.folders.assertMayOpen(folder, standing);
    const file = await this.fetchFile.run(caller.email, new Secret(password), folder, fileName, standing);
    await reply
      .type(BINARY_MEDIA_TYPE)
      .headers({ 'cache-control': 'no-store', 'content-length': String(file.sizeBytes) })
      .send(file.content);
  }

  private async listOf(
    folder: string,
    search: string | undefined,
    standing: Standing,
    reply: FastifyReply,
  ): Promise<void> {
    await this.folders.assertMayRead(folder, standing);
    const list = Readable.from(jsonArray(this.files.names(folder, search, deviceOf(standing))));
    await once(list, 'readable'); // what fails before the first byte has an answer of its own
    await reply.type('application/json; charset=utf-8').send(list);
  }
}

/** The key fragments of older image archives (F4). */
@ApiTags('older clients')
@Controller('binary-split')
export class KeyFragmentsController {
  constructor(private readonly fragments: KeyFragments) {}

  @Get('key-fragment')
  @AllowRoles('Operator', 'CompanionPC', 'Admin', 'ApiAdmin')
  @ApiOperation({ summary: 'The key fragment of an image archive of the older format' })
  @ApiProduces(BINARY_MEDIA_TYPE)
  @ApiOkResponse({ description: 'Raw bytes' })
  @ProblemResponses(400, 401, 403, 404)
  async release(
    @Query() { archive }: ArchiveQuery,
    @CallerStanding() standing: Standing,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const fragment = await this.fragments.release(archive, actorOf(standing));
    await reply.type(BINARY_MEDIA_TYPE).header('cache-control', 'no-store').send(Buffer.from(fragment));
  }

  @Put('archives/:name')
  @EmptyBody()
  @AllowRoles('ResourceUploader', 'ApiAdmin')
  @ApiOperation({ summary: 'Register an image archive of the older format: makes the key fragment to encrypt it with' })
  @ApiProduces(BINARY_MEDIA_TYPE)
  @ApiCreatedResponse({ description: 'The new key fragment, raw bytes' })
  @ApiOkResponse({ description: 'The one it has, to who registered it or an ApiAdmin' })
  @ProblemResponses(400, 401, 403, 409)
  async register(
    @Param() { name }: ArchiveParams,
    @CallerStanding() standing: Standing,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { fragment, created } = await this.fragments.register(name, standing);
    await reply
      .status(created ? 201 : 200)
      .type(BINARY_MEDIA_TYPE)
      .header('cache-control', 'no-store')
      .send(Buffer.from(fragment));
  }
}

/** `password` and `fileName`, whatever the case of their names; everything else is refused by name, `hardware` above all. */
function membersInAnyCase(body: unknown): { readonly password: string; readonly fileName: string } {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw invalidRequest(400, [{ field: 'body', messages: ['must be a JSON object'] }]);
  const found = new Map<string, unknown>();
  const refused: { field: string; messages: string[] }[] = [];
  for (const [name, value] of Object.entries(body)) {
    const known = name.toLowerCase();
    if (known !== 'password' && known !== 'filename')
      refused.push({ field: name.slice(0, 100), messages: ['is not known here'] });
    else if (found.has(known)) refused.push({ field: name, messages: ['must be given once'] });
    else found.set(known, value);
  }
  const password = found.get('password');
  const fileName = found.get('filename');
  if (typeof password !== 'string' || password.length > MAX_PASSWORD_CHARS || password.includes('\0'))
    refused.push({ field: 'password', messages: [`must be a text of at most ${MAX_PASSWORD_CHARS} characters`] });
  if (!isValidName(fileName)) refused.push({ field: 'fileName', messages: ['must be the name of a file'] });
  if (refused.length > 0 || typeof password !== 'string' || typeof fileName !== 'string')
    throw invalidRequest(400, refused);
  return { password, fileName };
}

/** One array, however long, as text in pieces: older clients know no pages. */
async function* jsonArray(parts: AsyncIterable<readonly string[]>): AsyncGenerator<string> {
  let before = '[';
  for await (const names of parts) {
    if (names.length > 0) yield before + JSON.stringify(names).slice(1, -1);
    if (names.length > 0) before = ',';
  }
  yield before === '[' ? '[]' : ']';
}

/** The length of the body, some of which frames the file; `undefined` where the client does not say. */
function announcedBytes({ headers }: FastifyRequest): number | undefined {
  const length = headers['content-length'];
  return length === undefined ? undefined : Number(length);
}

async function* onlyPart(file: Readable, parts: AsyncIterator<MultipartPart>): AsyncGenerator<Buffer> {
  yield* multipartContent(file);
  const next = await parts.next();
  if (next.done === true) return;
  if (next.value.type === 'file') next.value.file.resume();
  throw unknownPart(next.value);
}

function unknownPart({ fieldname }: MultipartPart): HttpProblem {
  return invalidRequest(400, [
    { field: fieldname.slice(0, 100), messages: ['is not known here: send one part, "data"'] },
  ]);
}
