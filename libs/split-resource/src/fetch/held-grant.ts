import type { SegmentKind } from '@azaion/crypto';

import { repeatWhileUnreachable, type RetryPolicy } from '../backoff.js';
import { ResourceError } from '../errors.js';
import type { PackId } from '../pack.js';
import type { GrantApi, PackUrl } from '../ports/grant-api.js';

/** How a grant is held. */
export interface HeldGrantOptions {
  /** Asks for another grant of the very same version, and verifies it. @returns Its id. */
  readonly renew: () => Promise<string>;
  readonly retry: RetryPolicy;
  readonly signal: AbortSignal;
}

/**
 * A grant in use. A person's lives for minutes, a read may take hours: when the Admin API no longer knows it, a new one takes its
 * place. Calls are repeated while the Admin API is out of reach.
 */
export class HeldGrant {
  private renewing: Promise<void> | undefined;

  constructor(
    private readonly api: GrantApi,
    private grantId: string,
    private readonly options: HeldGrantOptions,
  ) {}

  /** @see GrantApi.segment */
  segment(kind: SegmentKind, index: number, maxBytes: number): Promise<Uint8Array> {
    return this.call((grantId) => this.api.segment(grantId, kind, index, maxBytes));
  }

  /** @see GrantApi.packUrls */
  packUrls(packIds: readonly PackId[]): Promise<readonly PackUrl[]> {
    return this.call((grantId) => this.api.packUrls(grantId, packIds));
  }

  private async call<Answer>(ask: (grantId: string) => Promise<Answer>): Promise<Answer> {
    const { retry, signal } = this.options;
    const asked = this.grantId;
    try {
      return await repeatWhileUnreachable(() => ask(asked), retry, signal);
    } catch (error) {
      if (!(error instanceof ResourceError) || error.code !== 'api.grant-gone') throw error;
    }
    // Once for all who found it gone.
    if (this.grantId === asked)
      await (this.renewing ??= this.renew().finally(() => {
        this.renewing = undefined;
      }));
    return repeatWhileUnreachable(() => ask(this.grantId), retry, signal);
  }

  private async renew(): Promise<void> {
    const { renew, retry, signal } = this.options;
    this.grantId = await repeatWhileUnreachable(renew, retry, signal);
  }
}
