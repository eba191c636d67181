import type { RetryPauses } from './kept-images.js';
import type { StallLimits } from './stall-watch.js';

/** Every limit of an unlock; times and pauses in milliseconds. */
export interface UnlockLimits {
  /** Smaller archives are loaded in one. */
  readonly leastPartBytes: number;
  readonly stall: StallLimits;
  /** Between two looks at the flight gate. */
  readonly gatePollMs: number;
  /** How long services may take to become healthy. */
  readonly healthTimeoutMs: number;
  /** Waiting for the link. */
  readonly linkRetryMs: RetryPauses;
  /** Before a device tries by itself to start services that could not be started. */
  readonly serviceRetryMs: RetryPauses;
}
