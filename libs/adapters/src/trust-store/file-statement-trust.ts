import { join } from 'node:path';

import { CryptoError, importVerificationKey, StatementKeys } from '@azaion/crypto';
import type { DeviceStateKey } from '@azaion/identity';
import type { Clock } from '@azaion/kernel';
import { ResourceError, StatementTrust } from '@azaion/split-resource';

import type { RootKey } from './root-key.js';
import { type TrustState, TrustStateFile } from './trust-state.js';

const FILE_NAME = 'statement-trust.json';
/** Keys in memory are used this long before they are asked for again. */
const FRESH_MS = 10 * 60_000;
/** Between two fetches, however many statements name an unknown key. */
const COOLDOWN_MS = 2_000;

const PATIENCE_MS = 2_000;

/** Where key documents come from. Nothing it returns has been verified. */
export interface StatementDocuments {
  /** Compact JWS of the newest key document. */
  statementKeys(): Promise<string>;
  /** The root that an Admin API in development made for itself. */
  statementRoot(): Promise<RootKey>;
}

/** How {@link FileStatementTrust} decides. */
export interface StatementTrustOptions {
  /** Directory that holds the marks; made when missing. */
  readonly dataDirectory: string;
  /** The configured root. It always wins over one seen first. */
  readonly root: RootKey | undefined;
  /** Whether a root may be trusted on first sight: in development only. */
  readonly trustOnFirstUse: boolean;
  readonly documents: StatementDocuments;
  readonly clock: Clock;
  /** On a device: the record is kept under a MAC by its key. */
  readonly key?: DeviceStateKey | undefined;
  /** How long a document is waited for when one is kept; default 2 s. */
  readonly patienceMs?: number;
  /** Told once when a root was trusted on first sight. */
  readonly warn: (message: string) => void;
}

/** Statement keys under a pinned root, and marks against going back, kept in the data directory. Source: docs/formats/sealed-resource.md, "Statement keys". */
export class FileStatementTrust extends StatementTrust {
  private readonly file: TrustStateFile;
  private current: { readonly keys: StatementKeys; readonly atMs: number } | undefined;
  private triedAtMs: number | undefined;
  private fetching: Promise<StatementKeys> | undefined;

  private constructor(
    private readonly options: StatementTrustOptions,
    private state: TrustState,
  ) {
    super();
    this.file = new TrustStateFile(join(options.dataDirectory, FILE_NAME), options.key);
  }

  /**
   * Opens the marks.
   *
   * @throws Error when there is no root and none may be trusted on first sight, or when the marks are damaged or another device's.
   */
  static async open(options: StatementTrustOptions): Promise<FileStatementTrust> {
    if (options.root === undefined && !options.trustOnFirstUse)
      throw new Error('No statement root key is configured: set STATEMENT_ROOT_KEY_FILE.');
    const state = await new TrustStateFile(join(options.dataDirectory, FILE_NAME), options.key).read();
    return new FileStatementTrust(options, state);
  }

  override async keys(refresh = false): Promise<StatementKeys> {
    const nowMs = this.options.clock.monotonicMs();
    if (this.current !== undefined && !this.expired(this.current.keys)) {
      const cooling = this.triedAtMs !== undefined && nowMs - this.triedAtMs < COOLDOWN_MS;
      if (cooling || (!refresh && nowMs - this.current.atMs < FRESH_MS)) return this.current.keys;
    }
    this.fetching ??= this.fetch().finally(() => (this.fetching = undefined));
    return this.keptUnlessFetched(this.fetching);
  }

  /** On a bad link what is kept has to do, while the fetch goes on. */
  private async keptUnlessFetched(fetching: Promise<StatementKeys>): Promise<StatementKeys> {
    if (this.state.keyDocument === undefined && this.current === undefined) return fetching;
    let timer: NodeJS.Timeout | undefined;
    const waited = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), this.options.patienceMs ?? PATIENCE_MS);
    });
    try {
      return (await Promise.race([fetching, waited])) ?? (await this.kept());
    } finally {
      clearTimeout(timer);
    }
  }

  override highestVersion(folderId: string, resourceId: string): Promise<number> {
    return Promise.resolve(this.state.versions[`${folderId}/${resourceId}`] ?? 0);
  }

  override async accept(folderId: string, resourceId: string, version: number): Promise<void> {
    const key = `${folderId}/${resourceId}`;
    if ((this.state.versions[key] ?? 0) >= version) return;
    this.state = await this.file.update((state) => ({
      ...state,
      versions: { ...state.versions, [key]: Math.max(version, state.versions[key] ?? 0) },
    }));
  }

  /** Whether there is a root, configured or seen before. */
  get knowsRoot(): boolean {
    return (this.options.root ?? this.state.root) !== undefined;
  }

  /**
   * Takes a key document that came another way than from the Admin API, with a bundle. One that is older than what was seen changes nothing.
   *
   * @param document - Untrusted.
   * @returns The keys that hold now.
   * @throws CryptoError `key-document.invalid` | `key-document.expired`; Error where no root is known yet: nothing is trusted on first sight from a bundle.
   */
  async adopt(document: string): Promise<StatementKeys> {
    if (!this.knowsRoot)
      throw new Error(
        'No statement root key is known: set STATEMENT_ROOT_KEY_FILE, or AZAION_STATEMENT_ROOT in device.conf.',
      );
    const known = this.state.keyDocument;
    try {
      await this.keep(document, await this.verify(document));
    } catch (error) {
      if (!(error instanceof CryptoError) || error.code !== 'key-document.rollback' || known === undefined) throw error;
      if (this.current === undefined) await this.keep(known, await this.verify(known));
    }
    return this.keys();
  }

  private async keep(document: string, keys: StatementKeys): Promise<void> {
    if (keys.version > this.state.keyDocumentVersion) {
      this.state = await this.file.update((state) =>
        keys.version > state.keyDocumentVersion
          ? { ...state, keyDocumentVersion: keys.version, keyDocument: document }
          : state,
      );
    }
    this.current = { keys, atMs: this.options.clock.monotonicMs() };
  }

  private async fetch(): Promise<StatementKeys> {
    this.triedAtMs = this.options.clock.monotonicMs();
    let document: string;
    try {
      document = await this.options.documents.statementKeys();
    } catch (error) {
      if (error instanceof ResourceError && error.code === 'api.unreachable') return this.kept(error);
      throw error;
    }
    const keys = await this.verify(document);
    await this.keep(document, keys);
    return keys;
  }

  /** What was accepted before still holds while the Admin API is out of reach, until it expires. */
  private async kept(unreachable = noAnswer()): Promise<StatementKeys> {
    if (this.current !== undefined && !this.expired(this.current.keys)) return this.current.keys;
    if (this.state.keyDocument === undefined) throw unreachable;
    const keys = await this.verify(this.state.keyDocument);
    this.current = { keys, atMs: this.options.clock.monotonicMs() };
    return keys;
  }

  private async verify(document: string): Promise<StatementKeys> {
    const root = await this.root();
    return StatementKeys.verify(
      document,
      await importVerificationKey(root.kid, root.key),
      this.state.keyDocumentVersion,
      Math.floor(this.options.clock.nowMs() / 1000),
    );
  }

  private async root(): Promise<RootKey> {
    const known = this.options.root ?? this.state.root;
    if (known !== undefined) return known;
    const seen = await this.options.documents.statementRoot();
    this.state = await this.file.update((state) => (state.root === undefined ? { ...state, root: seen } : state));
    this.options.warn(
      'No statement root key is configured: the one that the Admin API shows now is trusted from here on. Set STATEMENT_ROOT_KEY_FILE in production.',
    );
    return this.state.root ?? seen;
  }

  private expired(keys: StatementKeys): boolean {
    return keys.expiresAt * 1000 <= this.options.clock.nowMs();
  }
}

function noAnswer(): ResourceError {
  return new ResourceError('api.unreachable', 'The Admin API does not answer: check the network and its address.');
}
