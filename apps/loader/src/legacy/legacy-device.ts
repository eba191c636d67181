import { type DeviceConf, IdentityError, type TokenVerifier } from '@azaion/identity';
import type { Clock } from '@azaion/kernel';
import { type Recipient, ResourceError } from '@azaion/split-resource';

import { LoginReport } from '../device/login-report.js';
import type { LoaderDevice } from '../loader-adapters.js';
import type { TokenBearer } from '../session/caller-apis.js';
import type { LegacyAccounts } from './legacy-accounts.js';

/** A session is replaced when this much of its life is left, so that no call meets one that dies on the way. */
const RENEW_BEFORE_MS = 120_000;
/** Calls of a device that is refused must not become as many logins, which would lock its account: for this long the refusal is the answer. */
const FIRST_REFUSAL_MS = 5_000;
/** It doubles with every further refusal, up to this. */
const LONGEST_REFUSAL_MS = 60_000;

/** What the device logs in with. */
export interface LegacyDeviceDependencies {
  readonly accounts: LegacyAccounts;
  readonly verifier: TokenVerifier;
  readonly clock: Clock;
  readonly log: { log(message: string): void; warn(message: string): void };
}

/** The device by its account's password, as older devices do: one login for all who wait, and a new one only when there is no session any more. */
export class LegacyDevice implements LoaderDevice {
  readonly serial: string;
  private session: TokenBearer | undefined;
  private loggingIn: Promise<TokenBearer> | undefined;
  private refusal: { readonly error: IdentityError; readonly untilMs: number } | undefined;
  private refusalMs = FIRST_REFUSAL_MS;
  private readonly report: LoginReport;

  constructor(
    private readonly conf: DeviceConf,
    private readonly using: LegacyDeviceDependencies,
  ) {
    this.serial = conf.serial;
    this.report = new LoginReport({
      serial: conf.serial,
      where: ' at the older Admin API',
      retried: 'when it is needed',
      log: using.log,
    });
  }

  get authenticated(): boolean {
    return this.lifeMs > 0;
  }

  /** @throws IdentityError `login.wrong-credentials` | `login.rate-limited`; ResourceError `api.*`. */
  bearer(): Promise<TokenBearer> {
    const { refusal, lifeMs } = this;
    const living = lifeMs > 0 ? this.session : undefined;
    if (living !== undefined && lifeMs > RENEW_BEFORE_MS) return Promise.resolve(living);
    if (refusal !== undefined && this.using.clock.monotonicMs() < refusal.untilMs)
      return living === undefined ? Promise.reject(refusal.error) : Promise.resolve(living);
    this.loggingIn ??= this.logIn().finally(() => (this.loggingIn = undefined));
    return living === undefined ? this.loggingIn : this.loggingIn.catch(() => living);
  }

  recipient(): Promise<Recipient> {
    return Promise.reject(new ResourceError('resource.not-found', 'The older Admin API has no sealed resources.'));
  }

  start(): void {
    this.bearer().catch(() => undefined); // it was logged; who needs it logs in again
  }

  stop(): void {
    // nothing runs between calls
  }

  /** What is left of the session's life; 0 when there is none, also when it was pushed out or ended elsewhere. */
  private get lifeMs(): number {
    const { accounts, clock } = this.using;
    return this.session !== undefined && accounts.has(this.session.caller.sessionId)
      ? Math.max(0, this.session.caller.expiresAt * 1000 - clock.nowMs())
      : 0;
  }

  private async logIn(): Promise<TokenBearer> {
    const { accounts, verifier, clock } = this.using;
    try {
      const { accessToken } = await accounts.logIn(this.conf.email, this.conf.password, true);
      const token = accessToken.reveal();
      this.session = { caller: await verifier.verify(token), token };
      this.refusal = undefined;
      this.refusalMs = FIRST_REFUSAL_MS;
      this.report.succeeded();
      return this.session;
    } catch (error) {
      if (error instanceof IdentityError) {
        this.refusal = { error, untilMs: clock.monotonicMs() + this.refusalMs };
        this.refusalMs = Math.min(2 * this.refusalMs, LONGEST_REFUSAL_MS);
      }
      this.report.failed(error);
      throw error;
    }
  }
}
