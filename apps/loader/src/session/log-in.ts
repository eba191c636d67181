import { type HttpAuthApi } from '@azaion/adapters/resource-api';
import { IdentityError, type Role, type TokenVerifier } from '@azaion/identity';
import { DomainError, type Secret } from '@azaion/kernel';
import { ResourceError } from '@azaion/split-resource';

import { type TokenBearer } from './caller-apis.js';
import { type CallerSessions } from './caller-sessions.js';
import { type LoginLimiter } from './login-limiter.js';

/** A login whose token has been verified. */
export interface Login {
  readonly accessToken: Secret<string>;
  readonly expiresInSeconds: number;
  readonly role: Role;
}

/** F1: logs a person in at the Admin API and verifies what comes back before anybody gets it. */
export class LogIn {
  constructor(
    private readonly auth: Pick<HttpAuthApi, 'login'>,
    private readonly verifier: TokenVerifier,
    private readonly limiter: LoginLimiter,
  ) {}

  /**
   * @param address - Where the request came from: attempts are counted by it.
   * @throws IdentityError `login.wrong-credentials` | `login.rate-limited`; ResourceError `api.unreachable` | `api.unexpected`.
   */
  async run(email: string, password: Secret<string>, address: string): Promise<Login> {
    this.limiter.admit(address);
    const { accessToken, expiresInSeconds } = await this.auth.login(email, password);
    try {
      const { role } = await this.verifier.verify(accessToken.reveal());
      return { accessToken, expiresInSeconds, role };
    } catch (cause) {
      // The caller did nothing wrong: a token that does not verify is the upstream's fault, never a 401.
      if (cause instanceof IdentityError)
        throw new ResourceError('api.unexpected', 'The Admin API issued a token that does not verify.', { cause });
      throw cause;
    }
  }
}

/** Ends a session here and at the Admin API. */
export class LogOut {
  constructor(
    private readonly auth: Pick<HttpAuthApi, 'logout'>,
    private readonly sessions: CallerSessions,
    private readonly warn: (message: string) => void,
  ) {}

  /** Always forgets the session here; when the Admin API cannot be told, its own token life ends it. */
  async run({ caller, token }: TokenBearer): Promise<void> {
    this.sessions.end(caller);
    try {
      await this.auth.logout(token);
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      this.warn(`The Admin API could not be told of a logout (${error.code}).`);
    }
  }
}
