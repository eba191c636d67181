import type { HttpAuthApi, IssuedTokens } from '@azaion/adapters/resource-api';
import { CLOCK_TOLERANCE_SECONDS, IdentityError, type Role, type TokenVerifier } from '@azaion/identity';
import { type Clock, DomainError, Secret } from '@azaion/kernel';
import { HttpProblem } from '@azaion/nest-support';
import { ResourceError } from '@azaion/split-resource';

import type { TokenBearer } from './caller-apis.js';
import type { CallerSessions } from './caller-sessions.js';
import type { LoginLimiter } from './login-limiter.js';

/** A login whose token has been verified. */
export interface Login {
  readonly accessToken: Secret<string>;
  readonly expiresInSeconds: number;
  readonly role: Role;
}

/** Who may log in without the Admin API. */
export interface OfflineLogin {
  /** Whether anything can be opened without it. */
  holdsLease(): Promise<boolean>;
  /** How long the Admin API is worth waiting for. */
  patienceMs(): number;
  /** `undefined` for all but the device's own credentials. */
  logIn(
    email: string,
    password: Secret<string>,
  ): Promise<(TokenBearer & { readonly expiresInSeconds: number }) | undefined>;
}

/** F1: logs a person in at the Admin API and verifies what comes back before anybody gets it. */
export class LogIn {
  constructor(
    private readonly auth: Pick<HttpAuthApi, 'login'> & Partial<Pick<HttpAuthApi, 'serverTimeMs'>>,
    private readonly verifier: TokenVerifier,
    private readonly limiter: LoginLimiter,
    /** That tokens are verified by. */
    private readonly clock: Clock,
    /** The device while the Admin API is out of reach; `undefined` where there is none. */
    private readonly offline?: OfflineLogin,
    /** Waits for the Admin API where nobody can be let in without it. Default: as long as it takes. */
    private readonly whileReached: <Answer>(answer: Promise<Answer>) => Promise<Answer> = (answer) => answer,
  ) {}

  /**
   * @param address - Where the request came from: attempts are counted by it.
   * @throws IdentityError `login.wrong-credentials` | `login.rate-limited` | `clock.wrong`; ResourceError `api.unreachable` | `api.unexpected`;
   *   HttpProblem `api.unreachable` with 503 where a lease lets the device go on, and nobody else.
   */
  async run(email: string, password: Secret<string>, address: string): Promise<Login> {
    this.limiter.admit(address);
    let issued: Pick<IssuedTokens, 'accessToken' | 'expiresInSeconds'>;
    try {
      issued = await this.loginInTime(email, password);
    } catch (error) {
      if (!(error instanceof ResourceError) || error.code !== 'api.unreachable') throw error;
      return await this.logInOffline(email, password, error);
    }
    const { accessToken, expiresInSeconds } = issued;
    try {
      const { role } = await this.verifier.verify(accessToken.reveal());
      return { accessToken, expiresInSeconds, role };
    } catch (cause) {
      // The caller did nothing wrong: a token that does not verify is the upstream's fault, never a 401.
      if (cause instanceof IdentityError)
        throw (
          this.clockProblem(cause) ??
          new ResourceError('api.unexpected', 'The Admin API issued a token that does not verify.', { cause })
        );
      throw cause;
    }
  }

  /** A token that was issued just now and has expired, or is not valid yet, shows a wrong clock. Nobody signed the time it is compared with: that is for saying so only. */
  private clockProblem(cause: IdentityError): IdentityError | undefined {
    const serverMs = this.auth.serverTimeMs?.();
    if (serverMs === undefined) return undefined;
    const offSeconds = Math.round((this.clock.nowMs() - serverMs) / 1000);
    if (Math.abs(offSeconds) <= CLOCK_TOLERANCE_SECONDS) return undefined;
    return new IdentityError(
      'clock.wrong',
      `The clock of this Loader is ${String(Math.abs(offSeconds))} s ${offSeconds > 0 ? 'ahead of' : 'behind'} the Admin API's: set it, then log in again.`,
      { cause },
    );
  }

  /** Where there is something to go on with, a link that brings nothing is not waited for. */
  private async loginInTime(email: string, password: Secret<string>): Promise<IssuedTokens> {
    const logging = this.auth.login(email, password);
    logging.catch(() => undefined); // it may fail while the leases are looked up, or lose the race
    if (this.offline === undefined || !(await this.offline.holdsLease().catch(() => false)))
      return this.whileReached(logging);
    let timer: NodeJS.Timeout | undefined;
    const waited = new Promise<never>((_, reject) => {
      const late = new ResourceError('api.unreachable', 'The Admin API does not answer: check the network.');
      timer = setTimeout(() => reject(late), this.offline?.patienceMs());
    });
    try {
      return await Promise.race([logging, waited]);
    } finally {
      clearTimeout(timer);
    }
  }

  private async logInOffline(email: string, password: Secret<string>, unreachable: ResourceError): Promise<Login> {
    if (this.offline === undefined || !(await this.offline.holdsLease())) throw unreachable;
    const bearer = await this.offline.logIn(email, password);
    if (bearer === undefined)
      throw new HttpProblem(
        'api.unreachable',
        'The Admin API cannot be reached: until it can, only the device itself may log in here.',
        { status: 503, headers: { 'retry-after': '30' }, cause: unreachable },
      );
    const { caller, token, expiresInSeconds } = bearer;
    return { accessToken: new Secret(token), expiresInSeconds, role: caller.role };
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
    if (caller.local === true) return; // the Admin API never knew of it
    try {
      await this.auth.logout(token);
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      this.warn(`The Admin API could not be told of a logout (${error.code}).`);
    }
  }
}
