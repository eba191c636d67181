import type { KeyObject } from 'node:crypto';

import { type Caller, TokenVerifier } from '@azaion/identity';

import type { CallerSessions } from './caller-sessions.js';

/** Accepts what the Admin API signed, unless its session was logged out here. */
export class OpenSessionVerifier extends TokenVerifier {
  constructor(
    private readonly signed: TokenVerifier,
    private readonly sessions: CallerSessions,
  ) {
    super();
  }

  override keyFor(token: string): Promise<KeyObject> {
    return this.signed.keyFor(token);
  }

  override async verify(token: string): Promise<Caller> {
    const caller = await this.signed.verify(token);
    this.sessions.assertOpen(caller);
    return caller;
  }
}
