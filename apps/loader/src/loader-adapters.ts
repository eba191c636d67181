import type { HttpAuthApi, HttpDesiredApi } from '@azaion/adapters/resource-api';
import type { TokenVerifier } from '@azaion/identity';
import type { Clock } from '@azaion/kernel';
import type { HealthCheck } from '@azaion/nest-support';
import type {
  ChunkOpener,
  ChunkSealer,
  HeldLeases,
  PackSink,
  PackSource,
  PackStore,
  SegmentStore,
  StatementTrust,
  TrustedTime,
} from '@azaion/split-resource';
import type { ArchiveInspector } from '@azaion/unlock';

import type { CallerApis, DeviceRecipient, TokenBearer } from './session/caller-apis.js';
import type { CallerSessions } from './session/caller-sessions.js';
import type { OfflineLogin } from './session/log-in.js';
import type { OpenLegacyForCaller, PublishLegacyForCaller } from './legacy/legacy-resources.js';
import type { DesiredImages } from './update/desired-images.js';
import type { LeasedPacks } from './update/leased-packs.js';

/** The device's own session as the rest of the Loader sees it. */
export interface LoaderDevice extends DeviceRecipient {
  readonly authenticated: boolean;
  /** The device as a caller of its own, offline as one that may use its leases only. @throws IdentityError | ResourceError when it cannot log in and no lease holds. */
  bearer(): Promise<TokenBearer>;
  start(): void;
  stop(): void;
}

/** Everything outside of this process that a Loader works with, ready for use. */
export interface LoaderAdapters {
  readonly clock: Clock;
  readonly auth: Pick<HttpAuthApi, 'login' | 'logout'> & Partial<Pick<HttpAuthApi, 'serverTimeMs'>>;
  readonly apis: CallerApis;
  /** Verifies what the Admin API signed. */
  readonly verifier: TokenVerifier;
  readonly sessions: CallerSessions;
  readonly trust: StatementTrust;
  /** In the order in which they are tried. */
  readonly sources: readonly PackSource[];
  readonly sink: PackSink;
  readonly store: PackStore;
  readonly segments: SegmentStore;
  readonly opener: ChunkOpener;
  readonly sealer: ChunkSealer;
  readonly inspector: ArchiveInspector;
  /** What the device may open while the Admin API is out of reach; `undefined` where there is no device. */
  readonly leases?: HeldLeases | undefined;
  /** What the device is told to hold, and what it tells. */
  readonly desired?: Pick<HttpDesiredApi, 'desired' | 'report'> | undefined;
  /** Which images it is told to run. */
  readonly desiredImages?: DesiredImages | undefined;
  /** What the pack store gives up last. */
  readonly leasedPacks?: LeasedPacks | undefined;
  /** What leases are judged by. */
  readonly time?: TrustedTime | undefined;
  /** The device's logins without the Admin API. */
  readonly offline?: OfflineLogin | undefined;
  /** Whether the Admin API was out of reach when it was last asked. */
  readonly isOffline?: () => boolean;
  /** Waits for an answer of the Admin API, but not for long once that is out of reach; for whoever has nothing else to go on with. */
  readonly whileReached?: (<Answer>(answer: Promise<Answer>) => Promise<Answer>) | undefined;
  /** `undefined` where this machine is no device. */
  readonly device: LoaderDevice | undefined;
  /** What the device's keys are tied to, for people to read. */
  readonly binding: string;
  /** Why it is that binding: a sentence for the log. */
  readonly bindingReason: string;
  readonly modelCacheDir: string;
  /** Is the data directory writable. */
  readonly dataDirectory: HealthCheck;
  /** Does the Admin API answer, or does a lease hold. */
  readonly adminApi: HealthCheck;
  /** The older protocol in place of sealed resources (`LEGACY_API`). */
  readonly legacy?: { readonly open: OpenLegacyForCaller; readonly publish: PublishLegacyForCaller };
  /** Closes connections. */
  close(): Promise<void>;
}
