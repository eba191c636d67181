import { mkdir, readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

import { withLock } from '@azaion/adapters/file-lock';
import { replaceDurably } from '@azaion/adapters/file-store';

import { failure, systemErrorCode } from './failure-table.js';
import type { Service } from './service.js';

const READABLE_BY_OTHERS = 0o077;
const LOCK_RETRY_MS = 50;

/** Tokens of one login. They are for the service that gave them: no other is ever sent one. */
export interface Session {
  readonly issuedBy: Service;
  readonly accessToken: string;
  /** Seconds since 1970. */
  readonly expiresAt: number;
  /** Present after a login at the Admin API; a Loader gives none. */
  readonly refreshToken?: string;
}

/** What is remembered between two commands. */
export interface Profile {
  readonly api?: string;
  readonly loader?: string;
  readonly email?: string;
  /** One for each service, at most. */
  readonly sessions: readonly Session[];
}

/** The profile in a file that only its owner may read. */
export class ProfileFile {
  constructor(readonly path: string) {}

  /** `AZAION_PROFILE`, else `azaion/profile.json` under `XDG_CONFIG_HOME` or `~/.config`. */
  static locate(env: NodeJS.ProcessEnv): ProfileFile {
    const configured = env['AZAION_PROFILE'];
    if (configured !== undefined && configured !== '') return new ProfileFile(configured);
    const base = env['XDG_CONFIG_HOME'];
    return new ProfileFile(
      join(base !== undefined && base !== '' ? base : join(homedir(), '.config'), 'azaion', 'profile.json'),
    );
  }

  /** Where this profile's other files lie, for instance pinned keys. */
  get directory(): string {
    return dirname(this.path);
  }

  /** @throws CliFailure when others may read it, or it is not a profile. A missing file is a profile without logins. */
  async read(): Promise<Profile> {
    let text: string;
    try {
      const { mode } = await stat(this.path);
      if (process.platform !== 'win32' && (mode & READABLE_BY_OTHERS) !== 0)
        throw failure('profile.exposed', `Other users of this machine can read the profile ${this.path}.`);
      text = await readFile(this.path, 'utf8');
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return { sessions: [] };
      throw error;
    }
    const profile = parseProfile(text);
    if (profile === undefined) throw failure('profile.invalid', `The profile ${this.path} is damaged.`);
    return profile;
  }

  /** Replaces the profile as a whole; it is never readable by others, not even for a moment. */
  async write(profile: Profile): Promise<void> {
    await replaceDurably(this.path, `${JSON.stringify(profile, undefined, 2)}\n`);
  }

  /**
   * Changes the profile, one process at a time: a change made from what another has replaced meanwhile would bring its tokens back, and a refresh
   * token that is used twice ends its login.
   *
   * @param change - May take its time. Nothing is written when it fails, or gives back what it got.
   */
  async update(change: (profile: Profile) => Profile | Promise<Profile>): Promise<Profile> {
    await mkdir(this.directory, { recursive: true, mode: 0o700 });
    return withLock(`${this.path}.lock`, LOCK_RETRY_MS, async () => {
      const before = await this.read();
      const after = await change(before);
      if (after !== before) await this.write(after);
      return after;
    });
  }
}

function parseProfile(text: string): Profile | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const { api, loader, email, sessions = [] } = value as Record<string, unknown>;
  if (!isTextOrNothing(api) || !isTextOrNothing(loader) || !isTextOrNothing(email)) return undefined;
  if (!Array.isArray(sessions) || !sessions.every(isSession)) return undefined;
  return {
    ...(api === undefined ? {} : { api }),
    ...(loader === undefined ? {} : { loader }),
    ...(email === undefined ? {} : { email }),
    sessions,
  };
}

function isTextOrNothing(value: unknown): value is string | undefined {
  return value === undefined || typeof value === 'string';
}

function isSession(value: unknown): value is Session {
  if (typeof value !== 'object' || value === null) return false;
  const { issuedBy, accessToken, expiresAt, refreshToken } = value as Record<string, unknown>;
  return (
    isService(issuedBy) &&
    typeof accessToken === 'string' &&
    typeof expiresAt === 'number' &&
    (refreshToken === undefined || typeof refreshToken === 'string')
  );
}

function isService(value: unknown): value is Service {
  if (typeof value !== 'object' || value === null) return false;
  const { kind, url } = value as Record<string, unknown>;
  return (kind === 'api' || kind === 'loader') && typeof url === 'string';
}
