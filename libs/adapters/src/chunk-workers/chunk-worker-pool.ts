import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';

import { type ChunkSecrets, CryptoError } from '@azaion/crypto';
import type { ByteRange } from '@azaion/kernel';
import {
  type ChunkIdentity,
  ChunkOpener,
  ChunkSealer,
  type ChunkToSeal,
  type OpenedChunks,
  type PublishHash,
  RunningHash,
  type SealedRun,
} from '@azaion/split-resource';

import {
  type ChunkAnswer,
  type ChunkRequest,
  type ChunkTask,
  readIdentities,
  writeChunksToSeal,
  writeRanges,
} from './chunk-messages.js';
import { SharedMemories } from './shared-memories.js';

/** How a pool of threads is made. */
export interface ChunkWorkerPoolOptions {
  /** Number of threads, 1 to 64. Default: one for each core. */
  readonly threads?: number;
  /** The compiled entry of a thread. Default: the one beside this file. */
  readonly entry?: URL;
}

/** Requests that one thread may have waiting: enough to stay busy while an answer is on its way. */
const QUEUE_PER_THREAD = 2;
const MAX_THREADS = 64;
/** What a batch counts for when the thread with the least to do is chosen, and a hash that goes on: more will be added to it. */
const BATCH_WORK_BYTES = 1024 * 1024;
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
   * @throws CryptoError as the task does; Error of the system with its code; Error when the thread dies. The pool stays usable.
   */
  async run(task: ChunkTask): Promise<ChunkAnswer> {
    return this.idlest().run(task);
  }

  /** The thread with the least to do, for tasks that have to be done by one. @throws Error when the pool is closed. */
  idlest(): ChunkThread {
    if (this.closed) throw new Error('The worker pool is closed.');
    for (const dead of this.threads.filter((thread) => !thread.alive))
      this.threads.splice(this.threads.indexOf(dead), 1);
    const [first, ...others] = this.threads;
    const idlest = others.reduce((best, thread) => (thread.load < (best?.load ?? Infinity) ? thread : best), first);
    if (idlest !== undefined && (idlest.load === 0 || this.threads.length >= this.size)) return idlest;
    const started = new ChunkThread(this.entry);
    this.threads.push(started);
    return started;
  }

  /** Ends all threads; tasks that are under way fail. */
  async close(): Promise<void> {
    this.closed = true;
    await Promise.all(this.threads.splice(0).map((thread) => thread.close()));
  }
}

/** One thread. */
class ChunkThread {
  private readonly worker: Worker;
  private readonly waiting = new Map<number, Waiting>();
  private nextId = 0;
  alive = true;
  /** Hashes that have begun here and not ended. */
  hashes = 0;
  private waitingBytes = 0;

  constructor(entry: URL) {
    this.worker = new Worker(entry, { resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB } });
    this.worker.unref();
    this.worker.on('message', (answer: ChunkAnswer) => {
      this.settle(answer.id)?.resolve(answer);
    });
    this.worker.on('error', (error) => this.fail(error));
    this.worker.on('exit', () => this.fail(new Error('A worker thread ended.')));
  }

  /** Bytes that wait to be worked on, and what is to be expected of its hashes. */
  get load(): number {
    return this.waitingBytes + this.hashes * BATCH_WORK_BYTES;
  }

  /** @throws CryptoError as the task does; Error of the system with its code; Error when the thread dies. */
  async run(task: ChunkTask): Promise<ChunkAnswer> {
    if (!this.alive) throw new Error('A worker thread ended.');
    const id = this.nextId++;
    const workBytes = bytesOfWork(task);
    this.waitingBytes += workBytes;
    const answer = await new Promise<ChunkAnswer>((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.ref(); // a process with work under way must not end
      const moved = task.work === 'open' ? [task.bytes.buffer as ArrayBuffer] : [];
      this.worker.postMessage({ ...task, id } satisfies ChunkRequest, moved);
    }).finally(() => (this.waitingBytes -= workBytes));
    if ('code' in answer) throw new CryptoError(answer.code, answer.message);
    if ('crash' in answer) {
      if (answer.systemCode !== undefined) throw Object.assign(new Error(answer.crash), { code: answer.systemCode });
      throw new Error(`A chunk could not be worked on: ${answer.crash}`);
    }
    return answer;
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

/** How much there is to do, as far as that decides which thread does it. */
function bytesOfWork(task: ChunkTask): number {
  switch (task.work) {
    case 'open':
    case 'hash':
      return task.bytes.length;
    case 'identify':
    case 'seal':
      return BATCH_WORK_BYTES;
    case 'digest':
    case 'forget':
      return 1;
  }
}

class WorkerChunkOpener extends ChunkOpener {
  constructor(private readonly pool: ChunkWorkerPool) {
    super();
  }

  override open({ bytes, movable, chunks, into }: SealedRun): AsyncGenerator<OpenedChunks, void> {
    const whole = movable && bytes.byteLength === bytes.buffer.byteLength;
    const opening = this.pool.run({
      work: 'open',
      bytes: whole ? bytes : ownCopy(bytes),
      chunks: chunks.map(({ secrets, ...place }) => ({ ...place, secrets: ownSecrets(secrets) })),
      into: into && { descriptor: into.file.descriptor, position: into.position },
    });
    into?.file.usedBy(opening);
    opening.catch(() => undefined); // reported when its turn comes
    return openedChunks(opening);
  }
}

async function* openedChunks(opening: Promise<ChunkAnswer>): AsyncGenerator<OpenedChunks, void> {
  const answer = await opening;
  if (!('opened' in answer)) throw otherAnswer();
  const { plaintext, plaintextBytes, count, refusal } = answer.opened;
  if (count > 0)
    yield { plaintext: Buffer.from(plaintext.buffer, plaintext.byteOffset, plaintext.length), plaintextBytes, count };
  if (refusal !== undefined) throw new CryptoError(refusal.code, refusal.message);
}

class WorkerChunkSealer extends ChunkSealer {
  private readonly memories = new SharedMemories();

  constructor(
    private readonly pool: ChunkWorkerPool,
    override readonly parallelism: number,
  ) {
    super();
  }

  override allocate(sizeBytes: number): Uint8Array {
    return this.memories.allocate(sizeBytes);
  }

  override release(memory: Uint8Array): void {
    this.memories.release(memory);
  }

  override async identify(
    window: Uint8Array,
    chunks: readonly ByteRange[],
    domainKey: Uint8Array,
  ): Promise<readonly ChunkIdentity[]> {
    const ranges = writeRanges(chunks);
    const task = { work: 'identify', window, chunks: ranges, domainKey: ownCopy(domainKey) } as const;
    const answer = await this.memories.during([window], () => this.pool.run(task));
    if (!('identities' in answer)) throw otherAnswer();
    return readIdentities(answer.identities, chunks);
  }

  override async seal(
    window: Uint8Array,
    chunks: readonly ChunkToSeal[],
    target: Uint8Array,
  ): Promise<readonly number[]> {
    const task = { work: 'seal', window, chunks: writeChunksToSeal(chunks), target } as const;
    const answer = await this.memories.during([window, target], () => this.pool.run(task));
    if (!('sealedLengths' in answer)) throw otherAnswer();
    return answer.sealedLengths;
  }

  override hashing(algorithm: PublishHash, signal: AbortSignal): RunningHash {
    return new WorkerHash(this.pool.idlest(), this.memories, algorithm, signal);
  }
}

let hashesBegun = 0;

/** A hash whose state one thread keeps. */
class WorkerHash extends RunningHash {
  private readonly hash = hashesBegun++;
  private running: boolean;
  private readonly forget = (): void => {
    this.end();
    this.thread.run({ work: 'forget', hash: this.hash }).catch(() => undefined); // a thread that has ended keeps nothing
  };

  constructor(
    private readonly thread: ChunkThread,
    private readonly memories: SharedMemories,
    private readonly algorithm: PublishHash,
    private readonly signal: AbortSignal,
  ) {
    super();
    this.running = !signal.aborted;
    if (this.running) thread.hashes++;
    signal.addEventListener('abort', this.forget, { once: true });
  }

  override async update(bytes: Uint8Array): Promise<void> {
    const { hash, algorithm } = this;
    await this.memories.during([bytes], () => this.thread.run({ work: 'hash', hash, algorithm, bytes }));
  }

  override async digest(): Promise<Uint8Array> {
    const { hash, algorithm } = this;
    this.signal.removeEventListener('abort', this.forget);
    this.end();
    const answer = await this.thread.run({ work: 'digest', hash, algorithm });
    if (!('digest' in answer)) throw otherAnswer();
    return answer.digest;
  }

  private end(): void {
    if (this.running) this.thread.hashes--;
    this.running = false;
  }
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
