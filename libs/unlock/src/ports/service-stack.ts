import type { EngineImage } from './image-runtime.js';

/** The services that run from the images. */
export abstract class ServiceStack {
  /**
   * Brings all services up from these images, replacing those that run from others, and waits until they are healthy.
   *
   * @param images - What their references mean in the engine now.
   * @param healthTimeoutMs - How long starting them may take, and then how long they may take to become healthy.
   * @throws UnlockError `unlock.services-unhealthy` when they started and did not become healthy; `unlock.services-failed` when they could
   *   not be started, or not in time; the signal's reason after an abort.
   */
  abstract up(images: readonly EngineImage[], healthTimeoutMs: number, signal: AbortSignal): Promise<void>;
}
