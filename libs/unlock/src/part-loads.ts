import type { EngineImage, ImageRuntime } from './ports/image-runtime.js';

/**
 * Loads parts of an archive one after the other: the engine takes the next part while it works at one, and gets its last piece when it is done
 * with that. At most two are in the engine at a time.
 */
export class PartLoads {
  private readonly failed = new AbortController();
  private readonly signal: AbortSignal;
  private readonly loads: Promise<readonly EngineImage[]>[] = [];

  /**
   * @param handOver - What the engine pulls from: it sees every piece.
   * @param onWait - Everything but the last piece was taken, and the part before is waited for.
   */
  constructor(
    private readonly runtime: Pick<ImageRuntime, 'load'>,
    private readonly handOver: (plaintext: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>,
    private readonly onWait: () => void,
    signal: AbortSignal,
  ) {
    this.signal = AbortSignal.any([signal, this.failed.signal]);
  }

  /** Resolves when the engine is done with the part before and has got this one. @throws what a load throws. */
  async begin(part: AsyncIterable<Uint8Array>): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.start(part, resolve).then(() => resolve(), reject);
    });
  }

  /** Resolves when the engine is done with this part and those before. @throws as {@link begin}. */
  end(part: AsyncIterable<Uint8Array>): Promise<readonly EngineImage[]> {
    return this.start(part, () => undefined);
  }

  /** Resolves when no load is at work; those that are, are given up. */
  async stop(): Promise<void> {
    this.failed.abort(new Error('the load was given up'));
    await Promise.allSettled(this.loads);
  }

  private start(part: AsyncIterable<Uint8Array>, onTaken: () => void): Promise<readonly EngineImage[]> {
    const before = this.loads.at(-1);
    const { onWait } = this;
    async function* inTurn(): AsyncGenerator<Uint8Array> {
      let last: Uint8Array | undefined;
      for await (const piece of part) {
        if (last !== undefined) yield last;
        last = piece;
      }
      onWait();
      await before;
      if (last !== undefined) yield last;
      onTaken();
    }
    const load = this.runtime.load(this.handOver(inTurn()), this.signal);
    load.catch((error: unknown) => this.failed.abort(error));
    this.loads.push(load);
    return load;
  }
}
