import { readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

import { replaceDurably } from '@azaion/adapters/file-store';

import { failure, systemErrorCode } from './failure-table.js';

const READABLE_BY_OTHERS = 0o077;

/** Tokens of one login. */
export interface Session {
  /** The service that gave them. */
  readonly issuedBy: string;
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
  readonly session?: Session;
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

  /** @throws CliFailure when others may read it, or it is not a profile. A missing file is an empty profile. */
  async read(): Promise<Profile> {
    let text: string;
    try {
      const { mode } = await stat(this.path);
      if (process.platform !== 'win32' && (mode & READABLE_BY_OTHERS) !== 0)
        throw failure('profile.exposed', `Other users of this machine can read the profile ${this.path}.`);
      text = await readFile(this.path, 'utf8');
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return {};
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

  /** Changes the profile. */
  async update(change: (profile: Profile) => Profile): Promise<Profile> {
    const profile = change(await this.read());
    await this.write(profile);
    return profile;
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
  const { api, loader, email, session } = value as Record<string, unknown>;
  const texts = { api, loader, email };
  if (Object.values(texts).some((entry) => entry !== undefined && typeof entry !== 'string')) return undefined;
  if (session !== undefined && !isSession(session)) return undefined;
  return value;
}

function isSession(value: unknown): value is Session {
  if (typeof value !== 'object' || value === null) return false;
  const { issuedBy, accessToken, expiresAt, refreshToken } = value as Record<string, unknown>;
  return (
    typeof issuedBy === 'string' &&
    typeof accessToken === 'string' &&
    typeof expiresAt === 'number' &&
    (refreshToken === undefined || typeof refreshToken === 'string')
  );
}
