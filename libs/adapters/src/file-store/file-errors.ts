import { ResourceError } from '@azaion/split-resource';

const OUT_OF_SPACE = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** The code of a failed system call, `undefined` for every other error. */
export function systemCode(error: unknown): string | undefined {
  // By its form: a test runner's errors come from another realm.
  const code: unknown = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

/** A full disk becomes `resource.no-space`; everything else stays what it is. */
export function orNoSpace(error: unknown): unknown {
  return OUT_OF_SPACE.has(systemCode(error) ?? '') ? noSpace(error) : error;
}

/** The store has no room. */
export function noSpace(cause?: unknown): ResourceError {
  return new ResourceError(
    'resource.no-space',
    'There is not enough disk space: free some, or raise the limit of the store.',
    cause === undefined ? {} : { cause },
  );
}

/** For removing what may not be there. */
export function ignoreMissing(error: unknown): void {
  if (systemCode(error) !== 'ENOENT') throw error;
}
