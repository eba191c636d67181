import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';

import { type ChunkSecrets, CryptoError } from '@azaion/crypto';
import {
  type ChunkIdentity,
  ChunkOpener,
  ChunkSealer,
  type DigestedPack,
  type OpenedChunks,
  type SealedRun,
} from '@azaion/split-resource';

import { type ChunkAnswer, type ChunkRequest, type ChunkTask } from './chunk-messages.js';

/** How a pool of threads is made. */
export interface ChunkWorkerPoolOptions {
  /** Number of threads, 1 to 64. Default: one for each core. */
  readonly threads?: number;
  /** The compiled entry of a thread. Default: the one beside this file. */
  readonly entry?: URL;
}

/** Requests that one thread may have waiting: enough to stay busy while an answer is on its way. */
const QUEUE_PER_THREAD = 3;
const MAX_THREADS = 64;
/** Threads make few objects: the default of 16 MiB and more only defers collections. */
const YOUNG_GENERATION_MIB = 4;

interface Waiting {
  readonly resolve: (answer: ChunkAnswer) => void;
  readonly reject: (error: unknown) => void;
}

/** Threads that open, name and seal chunks. They start with the first task and never keep the process alive by themselves. */
export class ChunkWorkerPool {
  /** For readers. */
  readonly opener: ChunkOpener;
  /** For publishers. */
  readonly sealer: ChunkSealer;
  private readonly size: number;
  private readonly threads: ChunkThread[] = [];
  private readonly entry: URL;
  private closed = false;

  constructor(options: ChunkWorkerPoolOptions = {}) {
    this.size = Math.min(MAX_THREADS, Math.max(1, options.threads ?? availableParallelism()));
    this.entry = options.entry ?? new URL('./chunk-worker.js', import.meta.url);
    this.opener = new WorkerChunkOpener(this);
    this.sealer = new WorkerChunkSealer(this, this.size * QUEUE_PER_THREAD);
  }

  /**
   * Runs one task on the thread with the least to do.
   *
   * @throws CryptoError as the task does; Error when the thread dies. The pool stays usable.
   */
  async run(task: ChunkTask): Promise<ChunkAnswer> {
    if (this.closed) throw new Error('The worker pool is closed.');
    const answer = await this.idlest().run(task);
    if ('code' in answer) throw new CryptoError(answer.code, answer.message);
    if ('crash' in answer) throw new Error(`A chunk could not be worked on: ${answer.crash}`);
    return answer;
  }

  /** Ends all threads; tasks that are under way fail. */
  async close(): Promise<void> {
    this.closed = true;
    await Promise.all(this.threads.splice(0).map((thread) => thread.close()));
  }

  private idlest(): ChunkThread {
    for (const dead of this.threads.filter((thread) => !thread.alive))
      this.threads.splice(this.threads.indexOf(dead), 1);
    const [first, ...others] = this.threads;
    const idlest = others.reduce((best, thread) => (thread.load < (best?.load ?? Infinity) ? thread : best), first);
    if (idlest !== undefined && (idlest.load === 0 || this.threads.length >= this.size)) return idlest;
    const started = new ChunkThread(this.entry);
    this.threads.push(started);
    return started;
  }
}

class ChunkThread {
  private readonly worker: Worker;
  private readonly waiting = new Map<number, Waiting>();
  private nextId = 0;
  alive = true;

  constructor(entry: URL) {
    this.worker = new Worker(entry, { resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB } });
    this.worker.unref();
    this.worker.on('message', (answer: ChunkAnswer) => {
      this.settle(answer.id)?.resolve(answer);
    });
    this.worker.on('error', (error) => this.fail(error));
    this.worker.on('exit', () => this.fail(new Error('A worker thread ended.')));
  }

  get load(): number {
    return this.waiting.size;
  }

  run(task: ChunkTask): Promise<ChunkAnswer> {
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.ref(); // a process with work under way must not end
      this.worker.postMessage({ ...task, id } satisfies ChunkRequest, [task.bytes.buffer as ArrayBuffer]);
    });
  }

  async close(): Promise<void> {
    await this.worker.terminate();
  }

  private settle(id: number): Waiting | undefined {
    const waiting = this.waiting.get(id);
    this.waiting.delete(id);
    if (this.waiting.size === 0) this.worker.unref();
    return waiting;
  }

  private fail(error: unknown): void {
    this.alive = false;
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }
}

class WorkerChunkOpener extends ChunkOpener {
  constructor(private readonly pool: ChunkWorkerPool) {
    super();
  }

  override open({ bytes, movable, chunks }: SealedRun): AsyncGenerator<OpenedChunks, void> {
    const whole = movable && bytes.byteLength === bytes.buffer.byteLength;
    const opening = this.pool.run({
      work: 'open',
      bytes: whole ? bytes : ownCopy(bytes),
      chunks: chunks.map(({ secrets, ...place }) => ({ ...place, secrets: ownSecrets(secrets) })),
    });
    opening.catch(() => undefined); // reported when its turn comes
    return openedChunks(opening);
  }
}

async function* openedChunks(opening: Promise<ChunkAnswer>): AsyncGenerator<OpenedChunks, void> {
  const answer = await opening;
  if (!('opened' in answer)) throw otherAnswer();
  const { plaintext, count, refusal } = answer.opened;
  if (count > 0) yield { plaintext: Buffer.from(plaintext.buffer), count };
  if (refusal !== undefined) throw new CryptoError(refusal.code, refusal.message);
}

class WorkerChunkSealer extends ChunkSealer {
  constructor(
    private readonly pool: ChunkWorkerPool,
    override readonly parallelism: number,
  ) {
    super();
  }

  override async identify(plaintext: Uint8Array, domainKey: Uint8Array): Promise<ChunkIdentity> {
    const answer = await this.pool.run({ work: 'identify', bytes: ownCopy(plaintext), domainKey: ownCopy(domainKey) });
    if (!('identity' in answer)) throw otherAnswer();
    return answer.identity;
  }

  override async seal(plaintext: Uint8Array, secrets: ChunkSecrets): Promise<Buffer> {
    return bytesOf(await this.pool.run({ work: 'seal', bytes: ownCopy(plaintext), secrets: ownSecrets(secrets) }));
  }

  override async digest(buffer: Buffer, sizeBytes: number): Promise<DigestedPack> {
    const whole = buffer.byteLength === buffer.buffer.byteLength;
    const answer = await this.pool.run({ work: 'digest', bytes: whole ? buffer : ownCopy(buffer), sizeBytes });
    if (!('digested' in answer)) throw otherAnswer();
    const { bytes, sha256, md5 } = answer.digested;
    return { buffer: Buffer.from(bytes.buffer), sha256, md5 };
  }
}

function bytesOf(answer: ChunkAnswer): Buffer {
  if (!('bytes' in answer)) throw otherAnswer();
  return Buffer.from(answer.bytes.buffer, answer.bytes.byteOffset, answer.bytes.byteLength);
}

function otherAnswer(): Error {
  return new Error('A worker thread gave another answer than was asked for.');
}

/** A view is cloned with the whole buffer below it, which may be megabytes: a copy of its own is cheaper, and can be moved. */
function ownCopy(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

function ownSecrets({ h, key, plaintextBytes }: ChunkSecrets): ChunkSecrets {
  return { h: ownCopy(h), key: ownCopy(key), plaintextBytes };
}
