import { type AccessTokens, ApiClient, HttpAuthApi, type IssuedTokens } from '@azaion/adapters/resource-api';
import { IdentityError } from '@azaion/identity';
import { Secret } from '@azaion/kernel';

import type { CliFailure } from './cli-failure.js';
import { failure } from './failure-table.js';
import type { Profile, ProfileFile, Session } from './profile.js';
import type { Service } from './service.js';

const RENEW_BEFORE_SECONDS = 60;

/**
 * Keeps logins alive between commands and within a long one. Each belongs to the service that gave it, as credentials of git and npm do: whoever
 * names another address on a command line, or plants one in the environment, gets no token of it.
 */
export class SessionKeeper {
  private readonly renewals = new Map<string, Promise<string>>();

  constructor(
    private readonly file: ProfileFile,
    private readonly allowInsecure: boolean,
    /** Gives calls up. */
    private readonly signal: AbortSignal,
    private readonly nowSeconds: () => number = () => Date.now() / 1000,
  ) {}

  /**
   * Logs in and remembers the tokens, for this service and beside those of others; the password is not kept.
   *
   * @param service - An Admin API or a Loader: both answer `POST /login` (F1).
   */
  async login(service: Service, email: string, password: Secret<string>): Promise<Session> {
    const issued = await this.at(service, (api) => api.login(email, password));
    const session = sessionFrom(service, issued, this.nowSeconds());
    await this.file.update((profile) => ({ ...withSession(profile, session), [service.kind]: service.url, email }));
    return session;
  }

  /** An access token of this service that is good for at least a minute, renewed when it must be. @throws CliFailure `cli.not-logged-in`. */
  async token(service: Service): Promise<string> {
    const session = sessionAt(service, await this.file.read());
    if (this.secondsLeftOf(session) > RENEW_BEFORE_SECONDS) return session.accessToken;
    const renewal =
      this.renewals.get(service.url) ?? this.renew(service).finally(() => this.renewals.delete(service.url));
    this.renewals.set(service.url, renewal);
    return renewal;
  }

  /** The tokens of a login, for the adapters that call this service. */
  tokensOf(service: Service): AccessTokens {
    return { current: () => this.token(service) };
  }

  /** Ends the login at a service. */
  async end(service: Service): Promise<void> {
    const token = await this.token(service);
    await this.at(service, (api) => api.logout(token));
  }

  /** Forgets all tokens, here only. */
  async forget(): Promise<void> {
    await this.file.update((profile) => ({ ...profile, sessions: [] }));
  }

  private async at<T>({ url }: Service, work: (api: HttpAuthApi) => Promise<T>): Promise<T> {
    const client = new ApiClient({ baseUrl: url, allowInsecure: this.allowInsecure });
    const giveUp = (): void => void client.close();
    this.signal.addEventListener('abort', giveUp);
    try {
      return await work(new HttpAuthApi(client));
    } finally {
      this.signal.removeEventListener('abort', giveUp);
      await client.close();
    }
  }

  /** A refresh token works once, and a second use revokes the login: what another process has renewed meanwhile is taken. */
  private async renew(service: Service): Promise<string> {
    const profile = await this.file.update(async (before) => {
      const session = sessionAt(service, before);
      const leftSeconds = this.secondsLeftOf(session);
      if (leftSeconds > RENEW_BEFORE_SECONDS) return before;
      if (session.refreshToken === undefined) {
        if (leftSeconds > 0) return before;
        throw notLoggedIn(service, `Your login at ${service.url} has expired.`);
      }
      const refreshToken = new Secret(session.refreshToken);
      const issued = await this.at(service, (api) => api.refresh(refreshToken)).catch((error: unknown) => {
        const refused = error instanceof IdentityError && error.code === 'login.wrong-credentials';
        throw refused ? notLoggedIn(service, `Your login at ${service.url} has expired.`) : error;
      });
      return withSession(before, sessionFrom(service, issued, this.nowSeconds()));
    });
    return sessionAt(service, profile).accessToken;
  }

  private secondsLeftOf({ expiresAt }: Session): number {
    return expiresAt - this.nowSeconds();
  }
}

/** The login at a service: nothing but the same address is the same service. */
function sessionAt(service: Service, { sessions }: Profile): Session {
  const session = sessions.find(({ issuedBy }) => issuedBy.url === service.url);
  if (session !== undefined) return session;
  const elsewhere = sessions.map(({ issuedBy }) => issuedBy.url).join(', ');
  throw notLoggedIn(
    service,
    `You are not logged in at ${service.url}${elsewhere === '' ? '' : `; your login at ${elsewhere} is sent nowhere else`}.`,
  );
}

function withSession(profile: Profile, session: Session): Profile {
  return {
    ...profile,
    sessions: [...profile.sessions.filter(({ issuedBy }) => issuedBy.url !== session.issuedBy.url), session],
  };
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

function notLoggedIn({ kind, url }: Service, message: string): CliFailure {
  return failure('cli.not-logged-in', message, { next: `Run "azaion login --${kind} ${url} --email YOU".` });
}

function sessionFrom(service: Service, issued: IssuedTokens, nowSeconds: number): Session {
  return {
    issuedBy: service,
    accessToken: issued.accessToken.reveal(),
    expiresAt: Math.floor(nowSeconds + issued.expiresInSeconds),
    ...(issued.refreshToken === undefined ? {} : { refreshToken: issued.refreshToken.reveal() }),
  };
}
