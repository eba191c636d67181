import { type AccessTokens, ApiClient, HttpAuthApi, type IssuedTokens } from '@azaion/adapters/resource-api';
import { IdentityError } from '@azaion/identity';
import { Secret } from '@azaion/kernel';

import type { CliFailure } from './cli-failure.js';
import { failure } from './failure-table.js';
import { withLock } from '@azaion/adapters/file-lock';
import type { Profile, ProfileFile, Session } from './profile.js';

const RENEW_BEFORE_SECONDS = 60;
const LOCK_RETRY_MS = 50;

/** Keeps a login alive between commands and within a long one. */
export class SessionKeeper {
  private renewal: Promise<string> | undefined;

  constructor(
    private readonly file: ProfileFile,
    private readonly allowInsecure: boolean,
    /** Gives calls up. */
    private readonly signal: AbortSignal,
    private readonly nowSeconds: () => number = () => Date.now() / 1000,
  ) {}

  /**
   * Logs in and remembers the tokens; the password is not kept.
   *
   * @param service - Base URL of an Admin API or a Loader: both answer `POST /login` (F1).
   */
  async login(service: string, kind: 'api' | 'loader', email: string, password: Secret<string>): Promise<Session> {
    const issued = await this.at(service, (api) => api.login(email, password));
    const session = sessionFrom(service, issued, this.nowSeconds());
    await this.file.update((profile) => ({ ...profile, [kind]: service, email, session }));
    return session;
  }

  /** An access token that is good for at least a minute, renewed when it must be. @throws CliFailure exit `forbidden`. */
  async token(): Promise<string> {
    const { session } = await this.file.read();
    if (session === undefined) throw notLoggedIn('You are not logged in.');
    if (session.expiresAt - this.nowSeconds() > RENEW_BEFORE_SECONDS) return session.accessToken;
    this.renewal ??= this.renew().finally(() => (this.renewal = undefined));
    return this.renewal;
  }

  /** The tokens of this login, for the adapters. */
  get tokens(): AccessTokens {
    return { current: () => this.token() };
  }

  /** Ends the session at the service that gave it. */
  async end(session: Session): Promise<void> {
    const token = await this.token();
    await this.at(session.issuedBy, (api) => api.logout(token));
  }

  /** Forgets the tokens, here only. */
  async forget(): Promise<void> {
    await this.file.update(({ api, loader, email }: Profile) => ({
      ...(api === undefined ? {} : { api }),
      ...(loader === undefined ? {} : { loader }),
      ...(email === undefined ? {} : { email }),
    }));
  }

  private async at<T>(service: string, work: (api: HttpAuthApi) => Promise<T>): Promise<T> {
    const client = new ApiClient({ baseUrl: service, allowInsecure: this.allowInsecure });
    const giveUp = (): void => void client.close();
    this.signal.addEventListener('abort', giveUp);
    try {
      return await work(new HttpAuthApi(client));
    } finally {
      this.signal.removeEventListener('abort', giveUp);
      await client.close();
    }
  }

  /** A refresh token works once, and a second use revokes the login: one process at a time. */
  private async renew(): Promise<string> {
    return withLock(`${this.file.path}.lock`, LOCK_RETRY_MS, async () => {
      const { session } = await this.file.read();
      if (session === undefined) throw notLoggedIn('You are not logged in.');
      const leftSeconds = session.expiresAt - this.nowSeconds();
      if (leftSeconds > RENEW_BEFORE_SECONDS) return session.accessToken;
      if (session.refreshToken === undefined) {
        if (leftSeconds > 0) return session.accessToken;
        throw notLoggedIn('Your login has expired.');
      }
      const refreshToken = new Secret(session.refreshToken);
      const issued = await this.at(session.issuedBy, (api) => api.refresh(refreshToken)).catch((error: unknown) => {
        const refused = error instanceof IdentityError && error.code === 'login.wrong-credentials';
        throw refused ? notLoggedIn('Your login has expired.') : error;
      });
      const renewed = sessionFrom(session.issuedBy, issued, this.nowSeconds());
      await this.file.update((profile) => ({ ...profile, session: renewed }));
      return renewed.accessToken;
    });
  }
}

/** What a token says about itself. It is shown to its owner only, so nothing is verified here. */
export function describeToken(token: string): { readonly role: string | undefined } {
  try {
    const payload = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')) as unknown;
    const role = typeof payload === 'object' && payload !== null && 'role' in payload ? payload.role : undefined;
    return { role: typeof role === 'string' ? role : undefined };
  } catch {
    return { role: undefined };
  }
}

function notLoggedIn(message: string): CliFailure {
  return failure('cli.not-logged-in', message);
}

function sessionFrom(service: string, issued: IssuedTokens, nowSeconds: number): Session {
  return {
    issuedBy: service,
    accessToken: issued.accessToken.reveal(),
    expiresAt: Math.floor(nowSeconds + issued.expiresInSeconds),
    ...(issued.refreshToken === undefined ? {} : { refreshToken: issued.refreshToken.reveal() }),
  };
}
