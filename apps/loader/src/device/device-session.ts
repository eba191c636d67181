import { type HttpAuthApi } from '@azaion/adapters/resource-api';
import {
  type Caller,
  type DeviceIdentity,
  IdentityError,
  proveEnrolment,
  signDeviceAssertion,
  type TokenVerifier,
} from '@azaion/identity';
import { type Clock, DomainError, type Secret } from '@azaion/kernel';
import { type Recipient } from '@azaion/split-resource';

import { type DeviceRecipient } from '../session/caller-apis.js';
import { type DeviceTokens } from '../session/http-caller-apis.js';

/** A token is replaced when this much of its life is left (or a quarter, if that is less), so that no call meets one that dies on the way. */
const RENEW_BEFORE_SECONDS = 120;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;

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
  readonly auth: Pick<HttpAuthApi, 'enrol' | 'enrolmentChallenge' | 'loginDevice'>;
  readonly identity: DeviceIdentity;
  readonly verifier: TokenVerifier;
  readonly clock: Clock;
  readonly log: { log(message: string): void; warn(message: string): void };
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
  private reportedCode: string | undefined;

  constructor(
    private readonly account: DeviceAccount,
    private readonly using: DeviceSessionDependencies,
  ) {}

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
    void this.bearer().then(
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
    return (await this.bearer()).token;
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

  /** The device as a caller of its own. @throws IdentityError | ResourceError when it cannot log in. */
  async bearer(): Promise<{ readonly caller: Caller; readonly token: string }> {
    const known = this.token;
    const { caller, text } =
      known !== undefined && this.nowSeconds() < known.renewAt
        ? known
        : await (this.loggingIn ??= this.login().finally(() => (this.loggingIn = undefined)));
    return { caller, token: text };
  }

  async recipient(): Promise<Recipient> {
    const { identity } = this.using;
    return { point: await identity.agreementPoint(), ecdh: identity.ecdh, serial: this.serial };
  }

  private async login(): Promise<Token> {
    try {
      const token = await this.loginEnrollingFirst();
      this.token = token;
      if (this.reportedCode !== '') this.using.log.log(`The device ${this.serial} is logged in.`);
      this.reportedCode = '';
      return token;
    } catch (error) {
      const code = error instanceof DomainError ? String(error.code) : 'unknown';
      if (this.reportedCode !== code)
        this.using.log.warn(
          `The device ${this.serial} cannot log in (${code}): ${error instanceof DomainError ? error.message : 'unexpected error'} It is tried again in the background.`,
        );
      this.reportedCode = code;
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
    const { auth, identity, verifier, clock } = this.using;
    const assertion = await signDeviceAssertion(identity, this.serial, this.account.audience, clock);
    const text = (await auth.loginDevice(assertion)).accessToken.reveal();
    const caller = await verifier.verify(text);
    if (caller.deviceSerial !== this.serial)
      throw new IdentityError('token.invalid', 'The Admin API answered with the token of another device.');
    const nowSeconds = this.nowSeconds();
    const lifeSeconds = caller.expiresAt - nowSeconds;
    return { text, caller, renewAt: nowSeconds + lifeSeconds - Math.min(RENEW_BEFORE_SECONDS, lifeSeconds / 4) };
  }

  private async enrol(): Promise<void> {
    const { auth, identity } = this.using;
    const challenge = await auth.enrolmentChallenge(this.serial, this.account.email, this.account.password);
    await auth.enrol(this.serial, await proveEnrolment(identity, this.serial, challenge));
    this.using.log.log(`The device ${this.serial} has been enrolled.`);
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
