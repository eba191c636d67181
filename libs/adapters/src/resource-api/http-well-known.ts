import type { PublicJwk } from '@azaion/crypto';

import { ApiAnswer } from './api-answer.js';
import type { ApiClient } from './api-client.js';

const MAX_DOCUMENT_BYTES = 256 * 1024;

/** What the Admin API publishes to everybody. Throws ResourceError `api.unreachable` | `api.unexpected`. */
export class HttpWellKnown {
  constructor(private readonly client: ApiClient) {}

  /** The compact JWS of the key document. Unverified. */
  async statementKeys(): Promise<string> {
    const answer = await this.client.call({
      method: 'GET',
      path: '/.well-known/azaion-statement-keys',
      expect: [200],
      maxBytes: MAX_DOCUMENT_BYTES,
    });
    return answer.body.toString('utf8').trim();
  }

  /** The root key that a development API made for itself: to be trusted on first sight only, and never in production. */
  statementRoot(): Promise<{ readonly kid: string; readonly key: PublicJwk }> {
    return this.client.json(
      { method: 'GET', path: '/.well-known/azaion-statement-root', expect: [200], maxBytes: MAX_DOCUMENT_BYTES },
      (value) => {
        const answer = new ApiAnswer(value);
        const key = {
          kty: answer.oneOf('kty', ['EC']),
          crv: answer.oneOf('crv', ['P-256']),
          x: answer.text('x', 64),
          y: answer.text('y', 64),
        };
        return { kid: answer.text('kid', 128), key };
      },
    );
  }
}
