import { randomUUID } from 'node:crypto';
import { join } from 'node:path';

import { DirectoryLegacyParts } from '@azaion/adapters/legacy-protocol';
import { type ApiClient, type CatalogueEntry, HttpKeySource } from '@azaion/adapters/resource-api';
import { generateP256KeyPair, importSigningKey } from '@azaion/crypto';
import { AccessTokenIssuer, type DeviceConf, JwksSource, JwksTokenVerifier } from '@azaion/identity';
import { type Clock } from '@azaion/kernel';
import { type GrantApi, type Recipient, ResourceError, type UploadApi } from '@azaion/split-resource';
import { type KeySource } from '@azaion/unlock';

import { type LoaderConfig } from '../config.js';
import { type LoaderAdapters, type LoaderDevice } from '../loader-adapters.js';
import { CallerApis, type TokenBearer } from '../session/caller-apis.js';
import { LegacyAccounts } from './legacy-accounts.js';
import { OpenLegacyForCaller, PublishLegacyForCaller } from './legacy-resources.js';

const TOKEN_LIFE_SECONDS = 4 * 3600;
const ISSUER = 'azaion-loader-legacy';

/** What legacy mode puts in the place of the usual adapters: the older protocol, and tokens of this Loader's own. */
export async function legacyAdapters(
  config: LoaderConfig,
  client: ApiClient,
  conf: DeviceConf | undefined,
  clock: Clock,
): Promise<Pick<LoaderAdapters, 'adminApi' | 'apis' | 'auth' | 'device' | 'legacy' | 'verifier'>> {
  const { privateJwk, publicJwk } = await generateP256KeyPair();
  const kid = randomUUID();
  const key = await importSigningKey(kid, privateJwk);
  const profile = { issuer: ISSUER, audience: ISSUER };
  const issuer = new AccessTokenIssuer(() => Promise.resolve(key), clock, {
    ...profile,
    lifetimeSeconds: TOKEN_LIFE_SECONDS,
  });
  const verifier = new JwksTokenVerifier(new OwnKey({ ...publicJwk, kid, use: 'sig', alg: 'ES256' }), clock, profile);
  const accounts = new LegacyAccounts(client, issuer, clock, config.legacyHardwareFingerprint);
  const local = new DirectoryLegacyParts(config.legacyDirectory ?? join(config.dataDir, 'legacy'));
  return {
    auth: {
      login: (email, password) => accounts.logIn(email, password),
      logout: async (token) => accounts.forget((await verifier.verify(token)).sessionId),
    },
    verifier,
    apis: new LegacyCallerApis(client, accounts),
    device: conf === undefined ? undefined : new LegacyDevice(conf, accounts, verifier, clock),
    adminApi: {
      name: 'admin-api',
      check: async (signal) => {
        // An older server has no route that needs no token: that it refuses is an answer too.
        await client.call({ method: 'GET', path: '/', expect: ANY_ANSWER, maxBytes: 1024 * 1024, signal });
      },
    },
    legacy: {
      open: new OpenLegacyForCaller(accounts, local),
      publish: new PublishLegacyForCaller(accounts, config.maxUploadBytes),
    },
  };
}

/** Everything but 5xx. */
const ANY_ANSWER: readonly number[] = Array.from({ length: 300 }, (_, index) => 200 + index);

/** The key set of a process that signs for itself alone. */
class OwnKey extends JwksSource {
  constructor(private readonly key: object) {
    super();
  }

  override currentKeys(): Promise<unknown> {
    return Promise.resolve({ keys: [this.key] });
  }
}

/** The older Admin API has no sealed resources; it has key fragments. */
class LegacyCallerApis extends CallerApis {
  constructor(
    private readonly client: ApiClient,
    private readonly accounts: LegacyAccounts,
  ) {
    super();
  }

  override grants(): GrantApi {
    throw notThere();
  }

  override uploads(): UploadApi {
    throw notThere();
  }

  override archiveKeys({ caller }: TokenBearer): KeySource {
    return new HttpKeySource(this.client, this.accounts.of(caller.sessionId).api.accessTokens);
  }

  override list(): Promise<readonly CatalogueEntry[]> {
    return Promise.reject(notThere());
  }
}

function notThere(): ResourceError {
  return new ResourceError('resource.not-found', 'The older Admin API has no sealed resources.');
}

/** The device by its account's password, as older devices do. */
class LegacyDevice implements LoaderDevice {
  readonly serial: string;
  private bearing: Promise<TokenBearer> | undefined;
  private expiresAtMs = 0;

  constructor(
    private readonly conf: DeviceConf,
    private readonly accounts: LegacyAccounts,
    private readonly verifier: JwksTokenVerifier,
    private readonly clock: Clock,
  ) {
    this.serial = conf.serial;
  }

  get authenticated(): boolean {
    return this.expiresAtMs > this.clock.nowMs();
  }

  bearer(): Promise<TokenBearer> {
    if (this.bearing !== undefined && this.authenticated) return this.bearing;
    this.bearing = this.logIn();
    this.bearing.catch(() => (this.bearing = undefined));
    return this.bearing;
  }

  recipient(): Promise<Recipient> {
    return Promise.reject(notThere());
  }

  start(): void {
    this.bearer().catch(() => undefined); // who needs it logs in again, and says what is wrong
  }

  stop(): void {
    // nothing runs between calls
  }

  private async logIn(): Promise<TokenBearer> {
    const { accessToken } = await this.accounts.logIn(this.conf.email, this.conf.password);
    const token = accessToken.reveal();
    const caller = await this.verifier.verify(token);
    this.expiresAtMs = caller.expiresAt * 1000;
    return { caller, token };
  }
}
