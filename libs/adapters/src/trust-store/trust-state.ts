import { readFile } from 'node:fs/promises';

import { isPublicJwk } from '@azaion/crypto';
import type { DeviceStateKey } from '@azaion/identity';

import { replaceDurably } from '../file-store/index.js';
import type { RootKey } from './root-key.js';

/** What a reader remembers of what it has trusted. All marks only rise. */
export interface TrustState {
  /** Only where no root was configured: the one seen first. */
  readonly root?: RootKey | undefined;
  /** Version of the newest key document accepted, 0 for none. */
  readonly keyDocumentVersion: number;
  /** That document, for use while the Admin API is out of reach. */
  readonly keyDocument?: string | undefined;
  /** `folderId/resourceId` → highest version accepted as the newest. */
  readonly versions: Readonly<Record<string, number>>;
}

const EMPTY: TrustState = { keyDocumentVersion: 0, versions: {} };

/** Keeps a {@link TrustState} in one file that is replaced as a whole; on a device under a MAC by its key. */
export class TrustStateFile {
  private writing: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly path: string,
    private readonly key: DeviceStateKey | undefined,
  ) {}

  /**
   * Reads the state; a missing file is an empty one.
   *
   * @throws Error when it is damaged or another device's: going on without the marks would accept what they refuse.
   */
  async read(): Promise<TrustState> {
    let text: string;
    try {
      text = await readFile(this.path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return EMPTY;
      throw error;
    }
    const state = this.stateIn(text);
    if (state === undefined)
      throw new Error(
        isAuthenticatedRecord(text)
          ? `${this.path} was written by another device, by this one with other keys, or changed by hand: restore the data directory of this device, or delete the file to start afresh.`
          : `The record of accepted versions ${this.path} is damaged: restore it, or delete it to start afresh.`,
      );
    return state;
  }

  private stateIn(text: string): TrustState | undefined {
    if (this.key === undefined) return parse(text);
    const authentic = this.key.authentic('statement-trust', text);
    if (authentic !== undefined) return parse(authentic);
    // Written before there was a MAC, or by somebody else: marks only refuse more, a root or a key document would accept more.
    const unsure = parse(text);
    return unsure && { keyDocumentVersion: unsure.keyDocumentVersion, versions: unsure.versions };
  }

  private textOf(state: TrustState): string {
    const text = JSON.stringify(state);
    return this.key === undefined ? text : this.key.authenticate('statement-trust', text);
  }

  /** Changes the state. Another process's marks in the same file are kept; changes of this one are made one after another. @throws ResourceError `resource.no-space`. */
  async update(change: (state: TrustState) => TrustState): Promise<TrustState> {
    const done = this.writing.then(async () => {
      const next = change(await this.read());
      await replaceDurably(this.path, this.textOf(next));
      return next;
    });
    this.writing = done.catch(() => undefined);
    return done;
  }
}

/** Whole, but not under the MAC of the key at hand: who looks for damage would find none. @param text - Untrusted. */
function isAuthenticatedRecord(text: string): boolean {
  const [mac = '', record] = text.split('\n', 2);
  return /^[\w-]{43}$/.test(mac) && record !== undefined && parse(record) !== undefined;
}

function parse(text: string): TrustState | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { root, keyDocumentVersion, keyDocument, versions } = value as Record<string, unknown>;
  if (!isMark(keyDocumentVersion) || typeof versions !== 'object' || versions === null) return undefined;
  if (!Object.values(versions).every(isMark)) return undefined;
  if (keyDocument !== undefined && typeof keyDocument !== 'string') return undefined;
  if (root !== undefined && !isRootKey(root)) return undefined;
  return { root, keyDocumentVersion, keyDocument, versions: versions as Record<string, number> };
}

function isMark(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isRootKey(value: unknown): value is RootKey {
  if (typeof value !== 'object' || value === null) return false;
  const { kid, key } = value as Record<string, unknown>;
  return typeof kid === 'string' && isPublicJwk(key);
}
