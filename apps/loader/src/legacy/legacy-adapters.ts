import { randomUUID } from 'node:crypto';
import { join } from 'node:path';

import { DirectoryLegacyParts } from '@azaion/adapters/legacy-protocol';
import { type ApiClient, type CatalogueEntry, HttpKeySource } from '@azaion/adapters/resource-api';
import { generateP256KeyPair, importSigningKey } from '@azaion/crypto';
import { AccessTokenIssuer, type DeviceConf, JwksSource, JwksTokenVerifier } from '@azaion/identity';
import type { Clock } from '@azaion/kernel';
import { type GrantApi, KnownLegacyParts, ResourceError, type UploadApi } from '@azaion/split-resource';
import type { KeySource } from '@azaion/unlock';
import { Logger } from '@nestjs/common';

import type { LoaderConfig } from '../config.js';
import type { LoaderAdapters } from '../loader-adapters.js';
import { CallerApis, type TokenBearer } from '../session/caller-apis.js';
import { LegacyAccounts } from './legacy-accounts.js';
import { LegacyDevice } from './legacy-device.js';
import { OpenLegacyForCaller, PublishLegacyForCaller } from './legacy-resources.js';

const TOKEN_LIFE_SECONDS = 4 * 3600;
const ISSUER = 'azaion-loader-legacy';

/** What takes the place of the usual adapters, and what ends it. */
export interface LegacyLoaderAdapters extends Pick<
  LoaderAdapters,
  'adminApi' | 'apis' | 'auth' | 'device' | 'legacy' | 'verifier'
> {
  /** Forgets all sessions. */
  readonly closeLegacy: () => void;
}

/** What legacy mode puts in the place of the usual adapters: the older protocol, and tokens of this Loader's own. */
export async function legacyAdapters(
  config: LoaderConfig,
  client: ApiClient,
  conf: DeviceConf | undefined,
  clock: Clock,
): Promise<LegacyLoaderAdapters> {
  const { privateJwk, publicJwk } = await generateP256KeyPair();
  const kid = randomUUID();
  const key = await importSigningKey(kid, privateJwk);
  const profile = { issuer: ISSUER, audience: ISSUER };
  const issuer = new AccessTokenIssuer(() => Promise.resolve(key), clock, {
    ...profile,
    lifetimeSeconds: TOKEN_LIFE_SECONDS,
  });
  const verifier = new JwksTokenVerifier(new OwnKey({ ...publicJwk, kid, use: 'sig', alg: 'ES256' }), clock, profile);
  const accounts = new LegacyAccounts(client, issuer, clock, {
    hardwareFingerprint: config.legacyHardwareFingerprint,
    proxy: config.httpsProxy,
  });
  const known = new KnownLegacyParts(clock);
  const local = new DirectoryLegacyParts(config.legacyDirectory ?? join(config.dataDir, 'legacy'));
  return {
    auth: {
      login: (email, password) => accounts.logIn(email, password),
      logout: async (token) => accounts.forget((await verifier.verify(token)).sessionId),
    },
    verifier,
    apis: new LegacyCallerApis(client, accounts),
    device:
      conf === undefined ? undefined : new LegacyDevice(conf, { accounts, verifier, clock, log: new Logger('Device') }),
    adminApi: {
      name: 'admin-api',
      check: async (signal) => {
        // An older server has no route that needs no token: that it refuses is an answer too.
        await client.call({ method: 'GET', path: '/', expect: ANY_ANSWER, maxBytes: 1024 * 1024, signal });
      },
    },
    legacy: {
      open: new OpenLegacyForCaller(accounts, local, known),
      publish: new PublishLegacyForCaller(accounts, config.maxUploadBytes, known),
    },
    closeLegacy: () => accounts.close(),
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
