import { UnlockError } from './errors.js';
import { canonicalReference } from './expected-image.js';
import type { EngineImage, ImageAssignment, ImageRuntime } from './ports/image-runtime.js';
import type { ServiceStack } from './ports/service-stack.js';

const KEPT_SUFFIX = '-last-good';
const MAX_TAG_LENGTH = 128;

/** What {@link StartServices} works with. */
export interface StartServicesDependencies {
  readonly stack: ServiceStack;
  readonly runtime: Pick<ImageRuntime, 'assign'>;
  /** Bounds the way back as well, which nobody can cancel. */
  readonly healthTimeoutMs: number;
  /** Somebody wants the new images no more: the previous ones are brought back. */
  readonly cancelled: AbortSignal;
  /** The process stops: everything stays as it is at that moment, for the next process to settle. */
  readonly stopping: AbortSignal;
  /** The new images are the good ones now: it is too late to cancel. */
  readonly onHealthy: () => void;
  /** The new images were given up. Resolves when the way back may begin. @throws the reason of `stopping`. */
  readonly beforeRollBack: (reason: UnlockError) => Promise<void>;
  /** The previous images run again. */
  readonly onRolledBack: (reason: UnlockError) => void;
}

/**
 * F4, after loading: brings the services up from the new images, and back to the last good ones when they do not become healthy or somebody
 * cancels it. The last good images keep a tag of their own, so that nobody's clean-up takes them away.
 */
export class StartServices {
  constructor(private readonly using: StartServicesDependencies) {}

  /**
   * @param lastGood - What the services were healthy with before; empty when that is not known.
   * @throws UnlockError `unlock.services-unhealthy` | `unlock.services-failed`; the reason of either signal.
   */
  async run(images: readonly EngineImage[], lastGood: readonly EngineImage[]): Promise<void> {
    const { stack, runtime, healthTimeoutMs, cancelled, stopping, onHealthy } = this.using;
    try {
      await stack.up(images, healthTimeoutMs, cancelled);
      cancelled.throwIfAborted();
    } catch (error) {
      stopping.throwIfAborted();
      const reason: unknown = cancelled.aborted ? cancelled.reason : error;
      if (lastGood.length > 0 && reason instanceof UnlockError) await this.rollBack(lastGood, reason);
      throw reason;
    }
    onHealthy();
    await runtime.assign(keeping(images, lastGood), stopping);
  }

  /**
   * Brings the last good images back, with their tags.
   *
   * @param reason - Why the others were given up.
   * @throws UnlockError `unlock.services-failed`; the reason of `stopping`.
   */
  async rollBack(lastGood: readonly EngineImage[], reason: UnlockError): Promise<void> {
    const { stack, runtime, healthTimeoutMs, stopping, beforeRollBack, onRolledBack } = this.using;
    await beforeRollBack(reason);
    try {
      await runtime.assign(lastGood, stopping);
      await stack.up(lastGood, healthTimeoutMs, stopping);
    } catch (cause) {
      stopping.throwIfAborted();
      throw new UnlockError(
        'unlock.services-failed',
        'The services do not run from the new images, and could not be brought back to the previous ones either. Look at their logs.',
        { cause: new AggregateError([reason, cause]) },
      );
    }
    onRolledBack(reason);
  }
}

/** The tag under which a good image stays when its own moves on. */
export function keptReference(reference: string): string {
  const name = canonicalReference(reference);
  const colon = name.lastIndexOf(':');
  const tag = name.slice(colon + 1, colon + 1 + MAX_TAG_LENGTH - KEPT_SUFFIX.length);
  return `${name.slice(0, colon)}:${tag}${KEPT_SUFFIX}`;
}

function keeping(images: readonly EngineImage[], before: readonly EngineImage[]): readonly ImageAssignment[] {
  const kept = images.map(({ reference, imageId }) => ({ reference: keptReference(reference), imageId }));
  const outdated = before
    .map(({ reference }) => keptReference(reference))
    .filter((reference) => !kept.some((image) => image.reference === reference));
  return [...kept, ...outdated.map((reference) => ({ reference, imageId: null }))];
}
