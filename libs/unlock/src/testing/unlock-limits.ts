import type { UnlockLimits } from '../unlock-limits.js';

/** Limits for tests that are about something else: nothing stalls, archives are loaded in one, and pauses are short. */
export const TEST_LIMITS: UnlockLimits = {
  leastPartBytes: Infinity,
  stall: { archive: 60_000, engine: 60_000, 'engine-end': 60_000 },
  gatePollMs: 10,
  healthTimeoutMs: 1000,
  linkRetryMs: { first: 10, longest: 10 },
  serviceRetryMs: { first: 10, longest: 10 },
};
