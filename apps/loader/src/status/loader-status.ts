import type { PackStore } from '@azaion/split-resource';

import type { CallerSessions } from '../session/caller-sessions.js';

/** What `GET /status` says. */
export interface LoaderStatusReport {
  readonly status: 'healthy';
  readonly authenticated: boolean;
  readonly modelCacheDir: string;
  readonly version: string;
  readonly binding: string;
  readonly bindingReason: string;
  readonly offline: boolean;
  readonly cache: { readonly bytes: number; readonly limitBytes: number };
}

/** Facts that do not change while the Loader runs. */
export interface LoaderFacts {
  readonly version: string;
  readonly modelCacheDir: string;
  readonly binding: string;
  /** Why it is that binding. */
  readonly bindingReason: string;
}

/** What this Loader is and has, from memory: asking it waits for no network. */
export class LoaderStatus {
  constructor(
    private readonly facts: LoaderFacts,
    private readonly sessions: CallerSessions,
    private readonly store: PackStore,
    private readonly device: { readonly authenticated: boolean } | undefined,
    private readonly isOffline: () => boolean,
  ) {}

  /** A snapshot. */
  async current(): Promise<LoaderStatusReport> {
    return {
      status: 'healthy',
      authenticated: this.device?.authenticated === true || this.sessions.size > 0,
      modelCacheDir: this.facts.modelCacheDir,
      version: this.facts.version,
      binding: this.facts.binding,
      bindingReason: this.facts.bindingReason,
      offline: this.isOffline(),
      cache: await this.store.usage(),
    };
  }
}
