import type { FastifyInstance } from 'fastify';

/** What pages send beside the headers that need no permission. */
const ALLOWED_HEADERS = 'authorization, content-type, idempotency-key, if-match, if-none-match, range, x-request-id';
/** What pages may read beside the headers that need no permission. */
const EXPOSED_HEADERS = 'etag, location, repr-digest, retry-after, www-authenticate, x-request-id';
/** How long a browser need not ask again. */
const MAX_AGE_SECONDS = 600;

/**
 * Lets pages of listed origins call the service and read its answers (Fetch Standard §3.3, "CORS protocol"). Other origins get what they
 * would get anyway, and their browser shows it to nobody. There are no cookies, so credentials are never allowed: a page sends its own bearer
 * token.
 *
 * @param origins - As browsers send them, such as `https://console.example.com`; no wildcards.
 */
export function allowOrigins(fastify: FastifyInstance, origins: readonly string[], methodsOf: MethodsOf): void {
  fastify.addHook('onRequest', (request, reply, done) => {
    // Also where it is refused: a cache must not hand one origin's answer to another.
    void reply.header('vary', 'origin');
    const { origin, 'access-control-request-method': preflight } = request.headers;
    if (origin === undefined || !origins.includes(origin)) {
      done();
      return;
    }
    void reply.headers({
      'access-control-allow-origin': origin,
      'access-control-expose-headers': EXPOSED_HEADERS,
      'cross-origin-resource-policy': 'cross-origin',
    });
    const methods = request.method === 'OPTIONS' && preflight !== undefined ? methodsOf(request.url) : [];
    if (methods.length === 0) {
      done();
      return;
    }
    void reply
      .status(204)
      .headers({
        'access-control-allow-methods': methods.join(', '),
        'access-control-allow-headers': ALLOWED_HEADERS,
        'access-control-max-age': String(MAX_AGE_SECONDS),
      })
      .send();
  });
}

/** The methods of an address; none where there is nothing. */
type MethodsOf = (url: string) => readonly string[];
