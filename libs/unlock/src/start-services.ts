import { UnlockError } from './errors.js';
import { canonicalReference } from './expected-image.js';
import { type EngineImage, type ImageAssignment, type ImageRuntime } from './ports/image-runtime.js';
import { type ServiceStack } from './ports/service-stack.js';

const KEPT_SUFFIX = '-last-good';
const MAX_TAG_LENGTH = 128;

/** What {@link StartServices} works with. */
export interface StartServicesDependencies {
  readonly stack: ServiceStack;
  readonly runtime: Pick<ImageRuntime, 'assign'>;
  readonly healthTimeoutMs: number;
  readonly signal: AbortSignal;
  /** The new images were given up: the previous ones are being brought back. */
  readonly onRollBack: () => void;
}

/**
 * F4, after loading: brings the services up from the new images, and back to the last good ones when they do not become healthy. The last
 * good images keep a tag of their own, so that nobody's clean-up takes them away.
 */
export class StartServices {
  constructor(private readonly using: StartServicesDependencies) {}

  /**
   * @param lastGood - What the services were healthy with before; empty when that is not known.
   * @throws UnlockError `unlock.services-unhealthy` | `unlock.services-failed`; the signal's reason.
   */
  async run(images: readonly EngineImage[], lastGood: readonly EngineImage[]): Promise<void> {
    const { stack, runtime, healthTimeoutMs, signal } = this.using;
    try {
      await stack.up(images, healthTimeoutMs, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (lastGood.length === 0 || !(error instanceof UnlockError)) throw error;
      await this.rollBack(lastGood, error);
      throw error;
    }
    await runtime.assign(keeping(images, lastGood), signal);
  }

  private async rollBack(lastGood: readonly EngineImage[], reason: UnlockError): Promise<void> {
    const { stack, runtime, healthTimeoutMs, signal, onRollBack } = this.using;
    onRollBack();
    try {
      await runtime.assign(lastGood, signal);
      await stack.up(lastGood, healthTimeoutMs, signal);
    } catch (cause) {
      signal.throwIfAborted();
      throw new UnlockError(
        'unlock.services-failed',
        'The services are not healthy with the new images, and could not be brought back to the previous ones either. Look at their logs.',
        { cause: new AggregateError([reason, cause]) },
      );
    }
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
