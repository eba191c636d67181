import type { IncomingHttpHeaders } from 'node:http';

import { ResourceError, type ResourceErrorCode } from '@azaion/split-resource';

/** What went wrong with a pack. No URL is ever mentioned: its query is a signature. */
export function packError(
  code: ResourceErrorCode,
  message: string,
  options: { cause?: unknown; headers?: IncomingHttpHeaders; status?: number } = {},
): ResourceError {
  const retryAfterSeconds = options.headers && retryAfterOf(options.headers['retry-after']);
  return new ResourceError(code, message, {
    ...(options.cause !== undefined && { cause: options.cause }),
    details: {
      ...(options.status !== undefined && { status: options.status }),
      ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
    },
  });
}

/** RFC 9110 §10.2.3: seconds or a date. */
function retryAfterOf(value: string | string[] | undefined): number | undefined {
  if (typeof value !== 'string') return undefined;
  const seconds = /^\d{1,9}$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return seconds > 0 ? Math.ceil(seconds) : undefined;
}
