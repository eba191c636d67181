import { setTimeout as rest } from 'node:timers/promises';

import { type Clock, type ResourceName } from '@azaion/kernel';
import { type StatementTrust } from '@azaion/split-resource';

import { type TokenBearer } from '../session/caller-apis.js';
import { type OpenForCaller } from '../session/open-for-caller.js';
import { type TransferPolicy } from './transfer-policy.js';

/** What is fetched between two looks at window and limit. */
const SLICE_BYTES = 4 * 1024 * 1024;

/** What {@link Prefetch} works with. */
export interface PrefetchDependencies {
  readonly open: Pick<OpenForCaller, 'completeVersions' | 'open'>;
  readonly trust: StatementTrust;
  readonly policy: TransferPolicy;
  readonly clock: Clock;
  /** The device as a caller of its own. */
  readonly bearer: () => Promise<TokenBearer>;
}

/** F2 ahead of time: brings one version onto the device, so that it opens without any network, and opens every chunk on the way. */
export class Prefetch {
  constructor(private readonly using: PrefetchDependencies) {}

  /**
   * Goes on where an earlier run stopped.
   *
   * @param latest - Whether it is the newest: once it is complete, nothing older is served as such any more.
   * @returns Whether it is complete; if not, the transfer window has closed.
   * @throws ResourceError | CryptoError | IdentityError; the signal's reason.
   */
  async run(resource: ResourceName, version: number, latest: boolean, signal: AbortSignal): Promise<boolean> {
    const { open, trust, policy, clock, bearer } = this.using;
    if ((await open.completeVersions(resource)).includes(version)) return true;
    // A lease of before would hide that this version may not be had any more.
    const opening = { version, movesMark: false, lease: 'never' } as const;
    const opened = await open.open(resource, opening, await bearer(), signal);
    const { totalBytes, folderId, resourceId } = opened.statement;
    const startedMs = clock.monotonicMs();
    let downloadedBytes = 0;
    for (let start = 0; start < totalBytes; start += SLICE_BYTES) {
      if (!policy.isOpen(new Date())) return false;
      let ofSlice = 0;
      const slice = { start, end: Math.min(totalBytes, start + SLICE_BYTES) };
      const chunks = opened
        .read(slice, (progress) => (ofSlice = progress.downloadedBytes), signal)
        [Symbol.asyncIterator]();
      // Opened, so that damage is noticed now and not when it is needed.
      while ((await chunks.next()).done !== true);
      downloadedBytes += ofSlice;
      await rest(policy.restMs(downloadedBytes, clock.monotonicMs() - startedMs), undefined, { signal });
    }
    if (latest) await trust.accept(folderId, resourceId, version);
    return true;
  }
}
