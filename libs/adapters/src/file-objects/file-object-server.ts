import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';

import { DomainError, releaseBytes, wantedRange } from '@azaion/kernel';
import type { SignedPut } from '@azaion/split-resource';

import type { ObjectFiles } from './object-files.js';
import type { ObjectUrls } from './object-url.js';

const READ_AHEAD_BYTES = 256 * 1024;

/** Answers the signed URLs of a file store over plain `node:http`, with the statuses that S3 uses. */
export class FileObjectServer {
  constructor(
    private readonly files: ObjectFiles,
    private readonly urls: ObjectUrls,
  ) {}

  /**
   * Answers one request: 200, 206 and 416 for a GET with any `Range`; 200, 400 (not the signed bytes) and 412 (exists) for a PUT; 403 for
   * everything whose signature does not hold. Never rejects.
   */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const permission = this.urls.check(request.method ?? '', request.url ?? '');
      if (!permission) refuse(request, response, 403);
      else if (permission.method === 'GET') await this.get(permission.key, request, response);
      else await this.put(permission.key, permission.content, request, response);
    } catch (error) {
      if (response.headersSent) response.destroy();
      else refuse(request, response, statusOf(error));
    }
  }

  private async get(key: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const file = await this.files.open(key);
    try {
      const { size } = await file.stat();
      const header = request.headers.range;
      const range = header === undefined ? { start: 0, end: size } : wantedRange(header, size);
      // Also what is not understood: everything would be far more than a reader of packs asked for.
      if (typeof range === 'string') {
        response.setHeader('content-range', `bytes */${size}`);
        refuse(request, response, 416);
        return;
      }
      response.writeHead(header === undefined ? 200 : 206, {
        'accept-ranges': 'bytes',
        'cache-control': 'private, no-store',
        'content-length': range.end - range.start,
        'content-type': 'application/octet-stream',
        ...(header === undefined ? {} : { 'content-range': `bytes ${range.start}-${range.end - 1}/${size}` }),
      });
      if (range.start === range.end) {
        response.end();
        return;
      }
      const bytes = file.createReadStream({
        start: range.start,
        end: range.end - 1,
        highWaterMark: READ_AHEAD_BYTES,
        autoClose: false,
      });
      await pipeline(bytes, response);
    } finally {
      await file.close();
    }
  }

  private async put(
    key: string,
    content: SignedPut,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    // The conditions that S3 has in its signature as well.
    const asSigned =
      request.headers['content-length'] === String(content.sizeBytes) && request.headers['if-none-match'] === '*';
    if (!asSigned) {
      refuse(request, response, 403);
      return;
    }
    const outcome = await this.files.create(key, content, piecesOf(request));
    if (outcome === 'created') response.writeHead(200, { 'content-length': 0 }).end();
    else refuse(request, response, outcome === 'exists' ? 412 : 400);
  }
}

/** The body, piece by piece. Left to the collector, a pack's pieces would make it run over everything else that the process holds, again and again. */
async function* piecesOf(request: IncomingMessage): AsyncGenerator<Uint8Array> {
  for await (const piece of request as AsyncIterable<Buffer>) {
    yield piece;
    releaseBytes(piece);
  }
}

function statusOf(error: unknown): number {
  if (!(error instanceof DomainError)) return 500;
  const statuses: Readonly<Record<string, number>> = {
    'pack.not-found': 404,
    'resource.no-space': 507,
    'cdn.unavailable': 503,
  };
  return statuses[String(error.code)] ?? 500;
}

/** An answer without a body. What is still to come of the request is not read: the connection ends with the answer. */
function refuse(request: IncomingMessage, response: ServerResponse, status: number): void {
  response.statusCode = status;
  response.setHeader('content-length', 0);
  if (!request.complete && request.method === 'PUT') response.setHeader('connection', 'close');
  response.end();
}
