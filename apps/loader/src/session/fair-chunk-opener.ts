import { ChunkOpener, type OpenedChunks, type SealedRun } from '@azaion/split-resource';

/**
 * What all openings together may take of the thread before everybody else has a turn: probes wait no longer than this and one chunk, several times
 * for each answer where the pool's threads have the cores.
 */
const TURN_MS = 0.5;

/**
 * Opens chunks with another opener that works on this thread, and lets the event loop turn in between. Opened bytes that a fast reader takes at
 * once would otherwise keep it from ever looking at other connections until the resource ends.
 */
export class FairChunkOpener extends ChunkOpener {
  /** When the current turn of the event loop began; `undefined` before its first chunk. */
  private turnBegunMs: number | undefined;

  constructor(private readonly opener: ChunkOpener) {
    super();
  }

  override async *open(run: SealedRun): AsyncGenerator<OpenedChunks, void> {
    for await (const opened of this.opener.open(run)) {
      yield opened;
      if (this.isOver()) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  private isOver(): boolean {
    const nowMs = performance.now();
    if (this.turnBegunMs === undefined) {
      this.turnBegunMs = nowMs;
      setImmediate(() => (this.turnBegunMs = undefined));
    }
    return nowMs - this.turnBegunMs >= TURN_MS;
  }
}
