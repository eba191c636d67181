import { type ByteRange, wantedRange } from '@azaion/kernel';
import { type OpenedResource, ResourceError } from '@azaion/split-resource';

const WEAK = 'W/';

/** What is served of an opened resource, whatever its format. */
export interface ServableResource extends Pick<OpenedResource, 'etag' | 'read' | 'sha256' | 'verified'> {
  readonly statement: Pick<OpenedResource['statement'], 'totalBytes' | 'version'>;
}

/** Which part of a resource a request wants. */
export type Wanted =
  { readonly kind: 'all' } | { readonly kind: 'range'; readonly range: ByteRange } | { readonly kind: 'not-modified' };

/** Headers of a conditional or ranged request. */
export interface ConditionalHeaders {
  readonly range?: string | undefined;
  readonly 'if-range'?: string | string[] | undefined;
  readonly 'if-none-match'?: string | undefined;
}

/**
 * The headers that describe a version, whatever part of it is sent. `Repr-Digest` (RFC 9530) is among them once the verifier has passed the
 * version: before, the hash in a recipe is what its publisher asserts, and nobody has compared it with the plaintext.
 */
export function entityHeaders(resource: Omit<ServableResource, 'read'>): Record<string, string> {
  return {
    'accept-ranges': 'bytes',
    'cache-control': 'private, no-cache',
    'content-type': 'application/octet-stream',
    etag: resource.etag,
    'x-resource-version': String(resource.statement.version),
    ...(resource.verified ? { 'repr-digest': `sha-256=:${Buffer.from(resource.sha256).toString('base64')}:` } : {}),
  };
}

/**
 * Decides what a request wants (RFC 9110 §13, §14). One range of bytes is served; several at once, other units and malformed ones are
 * ignored, as the RFC permits.
 *
 * @throws ResourceError `resource.range-invalid` when the range lies behind the end.
 */
export function wantedPart(headers: ConditionalHeaders, etag: string, totalBytes: number): Wanted {
  const known = headers['if-none-match'];
  if (known !== undefined && listsTag(known, etag)) return { kind: 'not-modified' };
  const ifRange = headers['if-range'];
  // RFC 9110 §13.1.5: a weak tag promises no equal bytes, so it never permits to go on with a part of them.
  const isOther = ifRange !== undefined && (ifRange !== etag || etag.startsWith(WEAK));
  if (headers.range === undefined || isOther) return { kind: 'all' };
  const range = wantedRange(headers.range, totalBytes);
  if (range === 'ignored') return { kind: 'all' };
  if (range === 'unsatisfiable')
    throw new ResourceError('resource.range-invalid', 'The range lies behind the end of the resource.', {
      details: { totalBytes },
    });
  return { kind: 'range', range };
}

/** The weak comparison (RFC 9110 §8.8.3.2). */
function listsTag(list: string, etag: string): boolean {
  return list.split(',').some((tag) => {
    const text = tag.trim();
    return text === '*' || opaque(text) === opaque(etag);
  });
}

function opaque(tag: string): string {
  return tag.startsWith(WEAK) ? tag.slice(WEAK.length) : tag;
}
