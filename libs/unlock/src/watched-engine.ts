import { orAborted } from './abortable.js';
import type { EngineImage, ImageAssignment, ImageRuntime } from './ports/image-runtime.js';
import { stalled, type StallLimits, StallWatch } from './stall-watch.js';

/** Questions to an engine. One that does nothing for too long is given up, as a load is. */
export class WatchedEngine {
  constructor(
    readonly runtime: ImageRuntime,
    private readonly limits: StallLimits,
  ) {}

  /** Which of these images the engine has. @throws UnlockError `unlock.engine-*`; the signal's reason. */
  present(references: readonly string[], signal: AbortSignal): Promise<readonly EngineImage[]> {
    return this.ask(signal, (either) => this.runtime.present(references, either));
  }

  /** Gives references a meaning, or takes it away. @throws as {@link present}. */
  assign(assignments: readonly ImageAssignment[], signal: AbortSignal): Promise<void> {
    return this.ask(signal, (either) => this.runtime.assign(assignments, either));
  }

  /** The layers that an archive may go without. @throws as {@link present}. */
  layers(signal: AbortSignal): Promise<ReadonlySet<string> | undefined> {
    return this.ask(signal, (either) => this.runtime.layers(either));
  }

  private async ask<T>(signal: AbortSignal, question: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const late = new AbortController();
    const watch = new StallWatch(this.limits, (awaited) => late.abort(stalled(awaited)));
    watch.waitFor('engine');
    const either = AbortSignal.any([signal, late.signal]);
    try {
      return await orAborted(question(either), either);
    } finally {
      watch.stop();
    }
  }
}
