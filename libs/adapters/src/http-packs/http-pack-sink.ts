import { Readable } from 'node:stream';

import { PackSink, type PackTarget } from '@azaion/split-resource';
import { Agent, type Dispatcher, ProxyAgent, request } from 'undici';

import { packError } from './response-errors.js';

const MAX_ANSWER_BYTES = 64 * 1024;

/** Writes packs to signed URLs with one PUT each. */
export class HttpPackSink extends PackSink {
  private readonly agent: Dispatcher;

  /** @param options - `proxy`: URL of an HTTP proxy. */
  constructor(options: { readonly proxy?: string | undefined } = {}) {
    super();
    const timeouts = { headersTimeout: 0, bodyTimeout: 30_000 };
    this.agent =
      options.proxy === undefined ? new Agent(timeouts) : new ProxyAgent({ ...timeouts, uri: options.proxy });
  }

  override async put(
    target: PackTarget,
    parts: readonly Uint8Array[],
    deadlineMs: number,
    signal?: AbortSignal,
  ): Promise<void> {
    const { statusCode: status, headers, body } = await this.send(target, parts, deadlineMs, signal);
    await body.dump({ limit: MAX_ANSWER_BYTES }).catch(() => undefined);
    if (status >= 200 && status < 300) return;
    if (status === 412) throw packError('pack.exists', 'The pack was written before.', { status });
    if (status === 401 || status === 403)
      throw packError('pack.forbidden', 'The CDN did not accept the pack.', { status });
    throw packError('pack.unavailable', `The CDN answered with status ${status}.`, { headers, status });
  }

  /** Ends all connections. */
  async close(): Promise<void> {
    await this.agent.destroy();
  }

  private async send(
    target: PackTarget,
    parts: readonly Uint8Array[],
    deadlineMs: number,
    signal: AbortSignal | undefined,
  ): Promise<Dispatcher.ResponseData> {
    const deadline = AbortSignal.timeout(deadlineMs);
    const sizeBytes = parts.reduce((sum, part) => sum + part.length, 0);
    const signed = Object.keys(target.headers).some((name) => name.toLowerCase() === 'content-length');
    try {
      return await request(target.url, {
        dispatcher: this.agent,
        method: 'PUT',
        headers: { ...target.headers, ...(!signed && { 'content-length': String(sizeBytes) }) },
        body: Readable.from(parts, { objectMode: false }),
        signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
      });
    } catch (cause) {
      signal?.throwIfAborted();
      throw packError('pack.unavailable', 'The CDN cannot be reached.', { cause });
    }
  }
}
