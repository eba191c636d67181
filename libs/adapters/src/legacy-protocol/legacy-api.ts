import { legacyAesKey, legacyApiKey, legacyDecrypt, legacyHardwareHash } from '@azaion/crypto';
import { IdentityError } from '@azaion/identity';
import { type DomainError, type ResourceName, Secret } from '@azaion/kernel';
import { LegacySmallParts, ResourceError } from '@azaion/split-resource';

import type { AccessTokens } from '../resource-api/access-tokens.js';
import { type ApiCall, type ApiClient, apiPath, type ApiProblem } from '../resource-api/api-client.js';
import { type LegacyCdnConfig, parseCdnConfig } from './cdn-config.js';

/** Parts that other tools cut may be larger than 3072 bytes; they are held in memory. */
const MAX_SMALL_BYTES = 32 * 1024 * 1024;
const MAX_ANSWER_BYTES = 64 * 1024;
const MAX_TOKEN_CHARS = 8192;
const CDN_CONFIG = 'cdn.yaml';

/** Whose calls they are. The password is needed for every small part: it is part of the key. In memory only. */
export interface LegacyAccount {
  readonly email: string;
  readonly password: Secret<string>;
  /** For servers that still bind accounts to machines; none unless given. */
  readonly hardwareFingerprint?: string | undefined;
}

/** Logs in at an older Admin API. @throws IdentityError `login.wrong-credentials` | `login.rate-limited`; ResourceError `api.*`. */
export async function legacyLogin(client: ApiClient, { email, password }: LegacyAccount): Promise<Secret<string>> {
  const { body } = await client.call(
    {
      method: 'POST',
      path: '/login',
      json: { email, password: password.reveal() },
      expect: [200],
      maxBytes: MAX_ANSWER_BYTES,
    },
    ({ status }) =>
      [400, 401, 403, 404, 409].includes(status)
        ? new IdentityError('login.wrong-credentials', 'The e-mail address or the password is wrong.')
        : undefined,
  );
  const token = tokenIn(body);
  if (token === undefined)
    throw new ResourceError('api.unexpected', 'The Admin API gave an answer outside its contract.');
  return new Secret(token);
}

/**
 * An older Admin API for one account (docs/formats/legacy.md): it logs in when it must, and once more when a token is refused, with one
 * login for all who wait.
 */
export class LegacyApi extends LegacySmallParts {
  private readonly tokens: AccessTokens;
  private readonly aesKey: Secret<Uint8Array>;

  /** @param token - Of a login that has just succeeded, if there was one. */
  constructor(
    private readonly client: ApiClient,
    private readonly account: LegacyAccount,
    token?: Secret<string>,
  ) {
    super();
    this.tokens = new LegacyTokens(() => legacyLogin(client, account), token);
    const { email, password, hardwareFingerprint } = account;
    const hardwareHash = hardwareFingerprint === undefined ? undefined : legacyHardwareHash(hardwareFingerprint);
    this.aesKey = new Secret(legacyAesKey(legacyApiKey(email, password.reveal(), hardwareHash)));
  }

  /** For calls that this class does not make. */
  get accessTokens(): AccessTokens {
    return this.tokens;
  }

  override read({ folder, name }: ResourceName, signal: AbortSignal): Promise<Uint8Array> {
    return this.get(folder, `${name}.small`, signal);
  }

  override async write({ folder, name }: ResourceName, small: Uint8Array, signal: AbortSignal): Promise<void> {
    const form = new FormData();
    form.append('data', new Blob([new Uint8Array(small)]), `${name}.small`);
    const encoded = new Response(form);
    await this.call({
      method: 'POST',
      path: apiPath('resources', folder),
      bytes: new Uint8Array(await encoded.arrayBuffer()),
      mediaType: encoded.headers.get('content-type') ?? '',
      expect: [200, 201, 204],
      maxBytes: MAX_ANSWER_BYTES,
      signal,
    });
  }

  /** Where the CDN is and with which keys. @throws ResourceError; CryptoError `legacy.invalid`. */
  async cdnConfig(signal: AbortSignal): Promise<LegacyCdnConfig> {
    const config = parseCdnConfig(Buffer.from(await this.get(undefined, CDN_CONFIG, signal)).toString('utf8'));
    if (config === undefined)
      throw new ResourceError('api.unexpected', 'The CDN configuration of the Admin API (cdn.yaml) cannot be used.');
    return config;
  }

  /** Names of the files in a folder, as the server tells them; those of other kinds are left out. */
  async list(folder: string): Promise<readonly string[]> {
    const path = apiPath('resources', 'list', folder);
    const { body } = await this.call({ method: 'GET', path, expect: [200], maxBytes: 8 * 1024 * 1024 });
    const parsed: unknown = parsedJson(body);
    if (!Array.isArray(parsed))
      throw new ResourceError('api.unexpected', 'The Admin API gave an answer outside its contract.');
    return parsed.filter((name) => typeof name === 'string');
  }

  private async get(folder: string | undefined, fileName: string, signal: AbortSignal): Promise<Uint8Array> {
    const { password, hardwareFingerprint } = this.account;
    const { body } = await this.call({
      method: 'POST',
      path: folder === undefined ? '/resources/get' : apiPath('resources', 'get', folder),
      json: {
        password: password.reveal(),
        fileName,
        ...(hardwareFingerprint === undefined ? {} : { hardware: hardwareFingerprint }),
      },
      expect: [200],
      maxBytes: MAX_SMALL_BYTES,
      signal,
    });
    return decrypted(body, this.aesKey.reveal());
  }

  private call(call: ApiCall): ReturnType<ApiClient['call']> {
    return this.client.call({ ...call, tokens: this.tokens }, refusal);
  }
}

/** A token that is got by logging in. */
class LegacyTokens implements AccessTokens {
  private loggingIn: Promise<string> | undefined;

  constructor(
    private readonly logIn: () => Promise<Secret<string>>,
    private token: Secret<string> | undefined,
  ) {}

  current(): Promise<string> {
    return this.token === undefined ? this.newToken() : Promise.resolve(this.token.reveal());
  }

  async renew(refused: string): Promise<string | undefined> {
    const known = this.token?.reveal();
    if (known !== undefined && known !== refused) return known;
    try {
      return await this.newToken();
    } catch (error) {
      if (error instanceof IdentityError) return undefined; // the refusal that led here is the answer
      throw error;
    }
  }

  private newToken(): Promise<string> {
    this.loggingIn ??= this.logIn()
      .then((token) => {
        this.token = token;
        return token.reveal();
      })
      .finally(() => (this.loggingIn = undefined));
    return this.loggingIn;
  }
}

function refusal({ status }: ApiProblem): DomainError | undefined {
  return status === 404 ? new ResourceError('resource.not-found', 'There is no such resource.') : undefined;
}

async function decrypted(bytes: Uint8Array, aesKey: Uint8Array): Promise<Uint8Array> {
  const decrypting = legacyDecrypt(aesKey);
  decrypting.end(bytes);
  const parts: Buffer[] = [];
  for await (const part of decrypting as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
}

function tokenIn(body: Buffer): string | undefined {
  const parsed = parsedJson(body);
  const token: unknown = typeof parsed === 'object' && parsed !== null && 'token' in parsed ? parsed.token : undefined;
  return typeof token === 'string' && token.length <= MAX_TOKEN_CHARS && /^[A-Za-z0-9_.-]+$/.test(token)
    ? token
    : undefined;
}

function parsedJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}
