import { enrolDevice, type EnrolmentApi, type HttpAuthApi, type IssuedTokens } from '@azaion/adapters/resource-api';
import {
  ASSERTION_TOLERANCE_SECONDS,
  type Caller,
  type DeviceIdentity,
  IdentityError,
  type JwksTokenVerifier,
  signDeviceAssertion,
} from '@azaion/identity';
import { type Clock, DomainError, ManualClock, type Secret } from '@azaion/kernel';
import { type Recipient, ResourceError } from '@azaion/split-resource';

import type { DeviceRecipient } from '../session/caller-apis.js';
import type { DeviceTokens } from '../session/http-caller-apis.js';
import { LoginReport } from './login-report.js';

/** A token is replaced when this much of its life is left (or a quarter, if that is less), so that no call meets one that dies on the way. */
const RENEW_BEFORE_SECONDS = 120;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;
/** Calls of a device that is refused must not become as many logins: for this long the refusal is the answer. */
const REFUSAL_KEPT_MS = 5_000;

/** Who the device is and how it logs in. */
export interface DeviceAccount {
  readonly serial: string;
  readonly email: string;
  readonly password: Secret<string>;
  /** `aud` of its assertions. */
  readonly audience: string;
}

/** What the session works with. */
export interface DeviceSessionDependencies {
  readonly auth: EnrolmentApi & Pick<HttpAuthApi, 'loginDevice'> & Partial<Pick<HttpAuthApi, 'serverTimeMs'>>;
  readonly identity: DeviceIdentity;
  readonly verifier: Pick<JwksTokenVerifier, 'issuedAt' | 'verify'>;
  readonly clock: Clock;
  /** What goes on while the Admin API is out of reach; `undefined` where nothing does. */
  readonly offline?: DeviceOffline | undefined;
  readonly log: { log(message: string): void; warn(message: string): void };
}

/** What the device has for the time without the Admin API. */
export interface DeviceOffline {
  /** A time that the Admin API signed just now. */
  observe(signedSeconds: number): void;
  /** The Admin API has just accepted the device. */
  remember(): Promise<void>;
  /** The device as a caller that may use its leases; `undefined` when none holds. */
  bearer(): Promise<{ readonly caller: Caller; readonly token: string } | undefined>;
  /** How long a login is worth waiting for. */
  patienceMs(): number;
  /** A login did not come in time. */
  late(): void;
  /** The device was revoked: nothing of it may be used any more. @param serverMs - The time that the answer shows, where it shows one. */
  forget(serverMs?: number): Promise<void>;
}

interface Token {
  readonly text: string;
  readonly caller: Caller;
  /** Seconds since 1970. */
  readonly renewAt: number;
}

/**
 * The device's own session (F1): enrols on its first start, logs in by an assertion of its key, renews before expiry. All callers share
 * one login under way; nobody else's identity is touched.
 */
export class DeviceSession implements DeviceTokens, DeviceRecipient {
  private token: Token | undefined;
  private loggingIn: Promise<Token> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private retryMs = FIRST_RETRY_MS;
  private stopped = false;
  private readonly report: LoginReport;
  private refusal: { readonly error: IdentityError; readonly untilMs: number } | undefined;

  constructor(
    private readonly account: DeviceAccount,
    private readonly using: DeviceSessionDependencies,
  ) {
    this.report = new LoginReport({ serial: account.serial, retried: 'in the background', log: using.log });
  }

  get serial(): string {
    return this.account.serial;
  }

  /** Whether the last login succeeded and its token is still good. */
  get authenticated(): boolean {
    return this.token !== undefined && this.token.caller.expiresAt > this.nowSeconds();
  }

  /** Logs in now and keeps the session alive from here on; what fails is tried again in the background. */
  start(): void {
    if (this.stopped) return;
    void this.online().then(
      () => {
        this.retryMs = FIRST_RETRY_MS;
        const leftMs = ((this.token?.renewAt ?? 0) - this.nowSeconds()) * 1000;
        this.schedule(Math.max(leftMs, FIRST_RETRY_MS));
      },
      () => {
        this.schedule(this.retryMs * (0.5 + Math.random() / 2));
        this.retryMs = Math.min(this.retryMs * 2, LONGEST_RETRY_MS);
      },
    );
  }

  /** Stops renewing. */
  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  async current(): Promise<string> {
    return (await this.online()).text;
  }

  async renew(refused: string): Promise<string | undefined> {
    // Somebody else may have logged in again since the refused token was read.
    if (this.token !== undefined && this.token.text !== refused) return this.token.text;
    this.token = undefined;
    try {
      return await this.current();
    } catch (error) {
      if (error instanceof DomainError) return undefined;
      throw error;
    }
  }

  /** The device as a caller of its own; offline, as long as a lease holds, as one that may use its leases only. @throws IdentityError | ResourceError when it cannot log in. */
  async bearer(): Promise<{ readonly caller: Caller; readonly token: string }> {
    const { offline } = this.using;
    const logged = this.online().then(({ caller, text }) => ({ caller, token: text }));
    if (offline === undefined || this.isFresh()) return logged;
    const local: Promise<{ readonly caller: Caller; readonly token: string }> = logged.catch(async (error: unknown) => {
      if (!(error instanceof ResourceError) || error.code !== 'api.unreachable') throw error;
      const bearer = await offline.bearer();
      if (bearer === undefined) throw error;
      return bearer;
    });
    local.catch(() => undefined); // it may lose the race
    let timer: NodeJS.Timeout | undefined;
    const waited = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), offline.patienceMs());
    });
    try {
      const inTime = await Promise.race([local, waited]);
      if (inTime !== undefined) return inTime;
      offline.late();
      return (await offline.bearer()) ?? (await local);
    } finally {
      clearTimeout(timer);
    }
  }

  async recipient(): Promise<Recipient> {
    const { identity } = this.using;
    return { point: await identity.agreementPoint(), ecdh: identity.ecdh, serial: this.serial };
  }

  private isFresh(): boolean {
    return this.token !== undefined && this.nowSeconds() < this.token.renewAt;
  }

  /** A token of the Admin API's: the one at hand, or that of the login under way. */
  private online(): Promise<Token> {
    const known = this.token;
    if (known !== undefined && this.isFresh()) return Promise.resolve(known);
    if (this.refusal !== undefined && performance.now() < this.refusal.untilMs)
      return Promise.reject(this.refusal.error);
    return (this.loggingIn ??= this.login().finally(() => (this.loggingIn = undefined)));
  }

  private async login(): Promise<Token> {
    try {
      const token = await this.loginEnrollingFirst();
      this.refusal = undefined;
      this.token = token;
      this.report.succeeded();
      await this.using.offline?.remember().catch((error: unknown) => {
        this.using.log.warn(
          `The device cannot log in offline: ${error instanceof DomainError ? error.message : 'its data directory cannot be written'}`,
        );
      });
      return token;
    } catch (error) {
      if (error instanceof IdentityError) this.refusal = { error, untilMs: performance.now() + REFUSAL_KEPT_MS };
      if (error instanceof IdentityError && error.code === 'device.revoked') {
        this.token = undefined;
        await this.using.offline?.forget(this.using.auth.serverTimeMs?.());
      }
      this.report.failed(error);
      throw error;
    }
  }

  /** An unknown key and a refused one look the same from here: the enrolment tells them apart. */
  private async loginEnrollingFirst(): Promise<Token> {
    try {
      return await this.loginByKey();
    } catch (error) {
      if (!(error instanceof IdentityError) || error.code !== 'login.wrong-credentials') throw error;
    }
    await this.enrol();
    return this.loginByKey();
  }

  private async loginByKey(): Promise<Token> {
    const { verifier, offline, clock } = this.using;
    const text = (await this.issuedByKey(clock)).accessToken.reveal();
    // Before the token's times are judged: a clock that is wrong must not refuse what the Admin API signed just now.
    offline?.observe(await verifier.issuedAt(text));
    const caller = await verifier.verify(text);
    if (caller.deviceSerial !== this.serial)
      throw new IdentityError('token.invalid', 'The Admin API answered with the token of another device.');
    const nowSeconds = this.nowSeconds();
    const lifeSeconds = caller.expiresAt - nowSeconds;
    return { text, caller, renewAt: nowSeconds + lifeSeconds - Math.min(RENEW_BEFORE_SECONDS, lifeSeconds / 4) };
  }

  /** A clock that is wrong makes assertions that are refused: the one repeat takes the time that the Admin API's answer shows, for the assertion alone. */
  private async issuedByKey(clock: Clock): Promise<IssuedTokens> {
    const { auth, identity } = this.using;
    const asserted = async (at: Clock): Promise<IssuedTokens> =>
      auth.loginDevice(await signDeviceAssertion(identity, this.serial, this.account.audience, at));
    try {
      return await asserted(clock);
    } catch (error) {
      const serverMs = auth.serverTimeMs?.();
      const isWrong = serverMs !== undefined && Math.abs(serverMs - clock.nowMs()) > ASSERTION_TOLERANCE_SECONDS * 1000;
      if (!isWrong || !(error instanceof IdentityError) || error.code !== 'login.wrong-credentials') throw error;
      return asserted(new ManualClock(serverMs));
    }
  }

  private async enrol(): Promise<void> {
    const { auth, identity } = this.using;
    const { attested, whyNot } = await enrolDevice(auth, identity, this.account);
    const evidence = attested ? ' and attested' : whyNot === undefined ? '' : `, but not attested: ${whyNot}`;
    this.using.log.log(`The device ${this.serial} has been enrolled${evidence}.`);
  }

  private schedule(delayMs: number): void {
    if (this.stopped) return;
    this.timer = setTimeout(() => this.start(), Math.min(delayMs, 2 ** 31 - 1));
    this.timer.unref();
  }

  private nowSeconds(): number {
    return Math.floor(this.using.clock.nowMs() / 1000);
  }
}
