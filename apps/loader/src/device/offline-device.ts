import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { replaceDurably } from '@azaion/adapters/file-store';
import { generateP256KeyPair, isPrivateJwk, type PrivateJwk } from '@azaion/crypto';
import { type DeviceStateKey, LOCAL_TOKEN_SECONDS, LocalTokens } from '@azaion/identity';
import { equalBytes, type Secret, utf8 } from '@azaion/kernel';
import type { HeldLeases, TrustedTime } from '@azaion/split-resource';

import type { TokenBearer } from '../session/caller-apis.js';

const VERIFIER_FILE = 'offline-login';
const KEY_FILE = 'local-token-key';
const LEAST_PATIENCE_MS = 1_000;

/** A login that the Admin API knows nothing of. */
export interface LocalBearer extends TokenBearer {
  readonly expiresInSeconds: number;
}

/** What {@link OfflineDevice} works with. */
export interface OfflineDeviceOptions {
  readonly account: { readonly serial: string; readonly email: string; readonly password: Secret<string> };
  readonly dataDirectory: string;
  readonly key: DeviceStateKey;
  readonly leases: HeldLeases;
  readonly time: TrustedTime;
}

/**
 * The device as a caller of its own while the Admin API is out of reach: as long as a lease holds, its own credentials give a token that
 * opens what it has leases for. What they are compared with, and the key of the tokens, are sealed to the device.
 */
export class OfflineDevice {
  private constructor(
    private readonly options: OfflineDeviceOptions,
    /** Issues and verifies the tokens. */
    readonly tokens: LocalTokens,
  ) {}

  /** Reads the key of the tokens, or makes it. @throws ResourceError `resource.no-space`. */
  static async open(options: OfflineDeviceOptions): Promise<OfflineDevice> {
    const { account, dataDirectory, key, time } = options;
    return new OfflineDevice(options, await LocalTokens.create(account, await tokenKey(dataDirectory, key), time));
  }

  /** Whether anything can be opened without the Admin API. */
  async holdsLease(): Promise<boolean> {
    return (await this.leaseEnd()) !== undefined;
  }

  /** How long a login at the Admin API is worth waiting for, at least a second: it may be back. */
  patienceMs(): number {
    return Math.max(LEAST_PATIENCE_MS, this.options.leases.patienceMs());
  }

  /** The Admin API has just accepted this device: from here on its credentials count offline, too. @throws ResourceError `resource.no-space`. */
  async remember(): Promise<void> {
    const { email, password } = this.options.account;
    const verifier = this.verifierOf(email, password.reveal());
    if ((await this.knownVerifier()) !== verifier) await replaceDurably(this.pathOf(VERIFIER_FILE), verifier);
  }

  /**
   * Logs the device in by its own credentials.
   *
   * @param email - Untrusted.
   * @param password - Untrusted.
   * @returns `undefined` for everybody else, and when no lease holds.
   */
  async logIn(email: string, password: Secret<string>): Promise<LocalBearer | undefined> {
    const verifier = await this.knownVerifier();
    if (verifier === undefined || !equalBytes(utf8(verifier), utf8(this.verifierOf(email, password.reveal()))))
      return undefined;
    return this.bearer();
  }

  /** The device itself, for work that nobody asked for. @returns `undefined` when no lease holds. */
  async bearer(): Promise<LocalBearer | undefined> {
    const endSeconds = await this.leaseEnd();
    if (endSeconds === undefined) return undefined;
    const leftSeconds = endSeconds - Math.floor(this.options.time.effectiveMs() / 1000);
    const expiresInSeconds = Math.min(LOCAL_TOKEN_SECONDS, leftSeconds);
    const token = await this.tokens.issue(expiresInSeconds);
    return { token, caller: await this.tokens.verify(token), expiresInSeconds };
  }

  /** When the last lease ends, seconds since 1970. */
  private async leaseEnd(): Promise<number | undefined> {
    const ends = (await this.options.leases.all()).map(({ token }) => token.notAfter);
    return ends.length === 0 ? undefined : Math.max(...ends);
  }

  private verifierOf(email: string, password: string): string {
    return this.options.key.mac('login-verifier', JSON.stringify([email, password]));
  }

  private async knownVerifier(): Promise<string | undefined> {
    return textOf(this.pathOf(VERIFIER_FILE));
  }

  private pathOf(name: string): string {
    return join(this.options.dataDirectory, name);
  }
}

/** The key of local tokens outlives restarts; one that does not open any more is replaced: its tokens live for minutes. */
async function tokenKey(directory: string, key: DeviceStateKey): Promise<PrivateJwk> {
  const path = join(directory, KEY_FILE);
  const kept = key.unseal('local-key', (await textOf(path)) ?? '');
  if (kept !== undefined) {
    const jwk: unknown = JSON.parse(kept);
    if (isPrivateJwk(jwk)) return jwk;
  }
  const { privateJwk } = await generateP256KeyPair();
  await replaceDurably(path, key.seal('local-key', JSON.stringify(privateJwk)));
  return privateJwk;
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
