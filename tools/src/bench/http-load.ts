import { Agent, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

/** What a load generator sends. */
export interface Load {
  readonly method: 'GET' | 'POST';
  readonly url: string;
  /** Of every request, or of the request of this number. */
  readonly headers?: Readonly<Record<string, string>> | ((index: number) => Readonly<Record<string, string>>);
  /** The body of the request of this number. */
  readonly body?: (index: number) => string;
  /** Statuses that count; another one ends the measurement with an error. */
  readonly expect: number;
  readonly requests: number;
  /** Requests under way at once; with `perSecond` at most that many. */
  readonly atOnce: number;
  /** Sends at a steady pace, whether the answers keep up or not; as fast as they come when left out. */
  readonly perSecond?: number;
}

/** What came of it. */
export interface LoadResult {
  readonly perSecond: number;
  /** From the moment a request was due, so that a queue counts. */
  readonly latenciesMs: readonly number[];
}

/** Sends requests over kept connections and measures each until its last byte. @throws Error for an answer that does not count. */
export async function generateLoad(load: Load): Promise<LoadResult> {
  const agent = new Agent({ keepAlive: true, maxSockets: load.atOnce });
  const latenciesMs: number[] = [];
  const startMs = performance.now();
  const dueMs = (index: number): number =>
    load.perSecond === undefined ? performance.now() : startMs + (index / load.perSecond) * 1000;
  let next = 0;
  const sender = async (): Promise<void> => {
    for (let index = next++; index < load.requests; index = next++) {
      const due = dueMs(index);
      const waitMs = due - performance.now();
      if (waitMs > 0) await delay(waitMs);
      await send(load, index, agent);
      latenciesMs.push(performance.now() - due);
    }
  };
  try {
    await Promise.all(Array.from({ length: load.atOnce }, sender));
  } finally {
    agent.destroy();
  }
  return { perSecond: (load.requests * 1000) / (performance.now() - startMs), latenciesMs };
}

/** The value below which this share lies. @param share - From 0 to 1. @throws RangeError for none. */
export function percentile(values: readonly number[], share: number): number {
  const value = values.toSorted((left, right) => left - right)[Math.ceil(values.length * share) - 1];
  if (value === undefined) throw new RangeError('a percentile of nothing');
  return value;
}

function send({ method, url, headers, body, expect }: Load, index: number, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    const text = body?.(index);
    const outgoing = request(url, {
      method,
      agent,
      headers: {
        ...(typeof headers === 'function' ? headers(index) : headers),
        ...(text === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
      },
    });
    outgoing.once('error', reject);
    outgoing.once('response', (answer) => {
      let said = '';
      answer.on('data', (part: Buffer) => {
        if (answer.statusCode !== expect) said += part.toString('utf8');
      });
      answer.once('error', reject);
      answer.once('end', () => {
        if (answer.statusCode === expect) resolve();
        else reject(new Error(`${method} ${url} answered ${answer.statusCode ?? 0}: ${said}`));
      });
    });
    outgoing.end(text);
  });
}
