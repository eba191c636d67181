import { Transform, type Readable, type TransformCallback } from 'node:stream';

import type { ByteRange } from '@azaion/kernel';
import { type PackLocation, PackSource } from '@azaion/split-resource';
import { Agent, type Dispatcher, ProxyAgent, request } from 'undici';

import { packError } from './response-errors.js';

const MAX_CONNECTIONS = 16;

/** How packs are read over HTTP. */
export interface HttpPackSourceOptions {
  /** Most connections to one host. */
  readonly connections?: number;
  /** URL of an HTTP proxy. */
  readonly proxy?: string | undefined;
}

/** Reads packs from signed URLs with ranged GETs (RFC 9110 §14). Redirects are refused: a signed URL leads to the bytes themselves. */
export class HttpPackSource extends PackSource {
  private readonly agent: Dispatcher;

  constructor(options: HttpPackSourceOptions = {}) {
    super();
    // Stalls inside a body are the caller's to watch.
    const limits = { connections: options.connections ?? MAX_CONNECTIONS, bodyTimeout: 0 };
    this.agent = options.proxy === undefined ? new Agent(limits) : new ProxyAgent({ ...limits, uri: options.proxy });
  }

  override async open(
    location: PackLocation,
    range: ByteRange,
    deadlineMs: number,
    signal?: AbortSignal,
  ): Promise<Readable> {
    const { url } = location;
    if (url === undefined || !/^https?:\/\//.test(url))
      throw packError('pack.forbidden', 'There is no URL for the pack.');
    const dueMs = performance.now() + deadlineMs;
    const response = await this.get(url, range, deadlineMs, signal);
    const { statusCode: status, headers, body } = response;
    const skipBytes = status === 206 ? 0 : range.start;
    if (!isRightAnswer(response, range)) {
      body.on('error', () => undefined).destroy();
      if (status === 401 || status === 403)
        throw packError('pack.forbidden', 'The CDN did not accept the URL.', { status });
      if (status === 404 || status === 410)
        throw packError('pack.not-found', 'The CDN does not have the pack.', { status });
      const sizeBytes =
        statedSize(response) ??
        (status === 416 ? await this.sizeOf(url, dueMs - performance.now(), signal) : undefined);
      if (sizeBytes !== undefined && sizeBytes < range.end)
        throw packError('pack.truncated', 'The CDN has the beginning of the pack only.', { status });
      throw packError('pack.unavailable', `The CDN answered with status ${status}.`, { headers, status });
    }
    const wantedBytes = range.end - range.start;
    return exactly(body, skipBytes, wantedBytes, headers['content-length'] === String(wantedBytes));
  }

  /** Ends all connections. */
  async close(): Promise<void> {
    await this.agent.destroy();
  }

  /**
   * The size of an object, as its store states it with the first byte: some S3 services refuse a range behind the end without a word. One that
   * refuses the first byte as well has none.
   */
  private async sizeOf(url: string, deadlineMs: number, signal: AbortSignal | undefined): Promise<number | undefined> {
    const response = await this.get(url, { start: 0, end: 1 }, deadlineMs, signal);
    response.body.on('error', () => undefined).destroy();
    return statedSize(response) ?? (response.statusCode === 416 ? 0 : undefined);
  }

  private async get(
    url: string,
    range: ByteRange,
    deadlineMs: number,
    signal: AbortSignal | undefined,
  ): Promise<Dispatcher.ResponseData> {
    // One bound on connecting, sending and waiting; it must not cut the body afterwards.
    const late = new AbortController();
    const timer = setTimeout(() => {
      late.abort(packError('pack.unavailable', 'The CDN did not answer in time.'));
    }, deadlineMs);
    try {
      return await request(url, {
        dispatcher: this.agent,
        headers: { range: `bytes=${range.start}-${range.end - 1}`, 'accept-encoding': 'identity' },
        signal: signal ? AbortSignal.any([signal, late.signal]) : late.signal,
      });
    } catch (cause) {
      signal?.throwIfAborted();
      throw packError('pack.unavailable', 'The CDN cannot be reached.', { cause });
    } finally {
      clearTimeout(timer);
    }
  }
}

function isRightAnswer({ statusCode, headers }: Dispatcher.ResponseData, range: ByteRange): boolean {
  if (isEncoded(headers)) return false;
  if (statusCode === 200) return true;
  const stated = /^bytes (\d+)-(\d+)\/(?:\d+|\*)$/.exec(String(headers['content-range']));
  return statusCode === 206 && Number(stated?.[1]) === range.start && Number(stated?.[2]) === range.end - 1;
}

function isEncoded({ 'content-encoding': encoding }: Dispatcher.ResponseData['headers']): boolean {
  return encoding !== undefined && encoding !== 'identity';
}

/**
 * The size of the whole object, where the answer to a range states it (RFC 9110 §14.4). The length of an answer that ignored `Range` counts for
 * nothing: whatever stands in the way may answer with a page of its own.
 */
function statedSize({ statusCode, headers }: Dispatcher.ResponseData): number | undefined {
  if ((statusCode !== 206 && statusCode !== 416) || isEncoded(headers)) return undefined;
  const [, size] = /^bytes (?:\d+-\d+|\*)\/(\d+)$/.exec(String(headers['content-range'])) ?? [];
  return size === undefined ? undefined : Number(size);
}

/**
 * The bytes of the range out of a body that may start before it (an answer that ignored `Range`) or go on after it.
 *
 * @param fits - The body states the very length: it ends by itself and its connection can be used again.
 */
function exactly(body: Readable, skipBytes: number, wantedBytes: number, fits: boolean): Readable {
  const cut = new RangeCut(skipBytes, wantedBytes);
  body.on('error', (cause) => {
    if (!cut.isComplete) cut.destroy(packError('pack.unavailable', 'The connection broke.', { cause }));
  });
  cut.on('end', () => {
    if (!fits) cut.destroy();
  });
  cut.on('close', () => body.destroy());
  return body.pipe(cut);
}

class RangeCut extends Transform {
  constructor(
    private skipBytes: number,
    private wantedBytes: number,
  ) {
    super();
  }

  get isComplete(): boolean {
    return this.wantedBytes === 0;
  }

  override _transform(part: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    const kept = part.subarray(this.skipBytes, this.skipBytes + this.wantedBytes);
    this.skipBytes = Math.max(0, this.skipBytes - part.length);
    this.wantedBytes -= kept.length;
    if (kept.length > 0) this.push(kept);
    // Whatever follows the range is not waited for.
    if (kept.length > 0 && this.isComplete) this.push(null);
    done();
  }

  override _flush(done: TransformCallback): void {
    done(this.wantedBytes > 0 ? packError('pack.unavailable', 'The CDN sent less than was asked for.') : null);
  }
}
