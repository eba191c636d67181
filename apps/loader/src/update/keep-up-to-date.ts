import type { DesiredState, DeviceReport, HttpDesiredApi, WantedResource } from '@azaion/adapters/resource-api';
import { DomainError, resourcePath } from '@azaion/kernel';
import type { HeldLeases } from '@azaion/split-resource';
import { type ArchiveVersion, isRunning, type UnlockStart, type UnlockStatus } from '@azaion/unlock';

import type { TokenBearer } from '../session/caller-apis.js';
import type { OpenForCaller } from '../session/open-for-caller.js';
import type { DesiredImages } from './desired-images.js';
import type { Prefetch } from './prefetch.js';
import type { RenewLeases } from './renew-leases.js';

/** Trying the same archive again would stop the services each time, or somebody does not want it. */
const FINAL: readonly (string | null)[] = ['unlock.cancelled', 'unlock.services-unhealthy'];

/** The unlock as an update needs it. */
export interface ImageUpdates {
  status(): Pick<UnlockStatus, 'error' | 'loaded' | 'state'>;
  /** Starts an unlock of this archive; it waits for the flight gate by itself. */
  start(wanted: ArchiveVersion): Promise<UnlockStart>;
}

/** What {@link KeepUpToDate} works with. */
export interface KeepUpToDateDependencies {
  readonly api: Pick<HttpDesiredApi, 'desired' | 'report'>;
  readonly bearer: () => Promise<TokenBearer>;
  readonly renewal: Pick<RenewLeases, 'run'>;
  /** Told of every answer: what is wanted keeps its lease. */
  readonly leases: Pick<HeldLeases, 'want'>;
  readonly prefetch: Pick<Prefetch, 'run'>;
  readonly open: Pick<OpenForCaller, 'completeVersions'>;
  readonly images: ImageUpdates;
  /** Told of every answer: others start unlocks as well, and must not work against it. */
  readonly desiredImages: Pick<DesiredImages, 'settle' | 'tell'> | undefined;
  readonly facts: { readonly loaderVersion: string; readonly binding: string };
  readonly log: { log(message: string): void; warn(message: string): void };
}

/**
 * What keeps a device as it is wanted, with nobody calling. One round asks what it should hold and run, fetches what is new, applies images, and
 * reports; leases are renewed beside.
 */
export class KeepUpToDate {
  private etag: string | undefined;
  private wanted: DesiredState = { resources: [], images: undefined };
  /** The images of the last wish that was not passed over. */
  private applied: ArchiveVersion | undefined;
  private reported: string | undefined;
  private readonly warned = new Map<string, string>();

  constructor(private readonly using: KeepUpToDateDependencies) {}

  /**
   * Never rejects: what fails is logged once and tried again in the next round.
   *
   * @param dueMs - When the next round is due: what has not been fetched by then is fetched in the next one, which looks first whether it is still wanted.
   */
  async run(signal: AbortSignal, dueMs: number): Promise<void> {
    await this.step('desired', () => this.ask(signal), signal);
    this.using.desiredImages?.settle();
    for (const resource of this.wanted.resources)
      await this.step(resourcePath(resource), () => this.fetched(resource, dueMs, signal), signal);
    const { images } = this.wanted;
    if (images !== undefined)
      await this.step(`${resourcePath(images)} as images`, () => this.apply(images, dueMs, signal), signal);
    await this.step('report', () => this.report(signal), signal);
  }

  /** Renews leases, also while a round is at work: fetching takes hours where a short lease lasts one. Never rejects. */
  async renew(signal: AbortSignal): Promise<void> {
    await this.step('leases', () => this.using.renewal.run(this.wantedVersions(), signal), signal);
  }

  private wantedVersions(): readonly ArchiveVersion[] {
    const { resources, images } = this.wanted;
    return [...resources, ...(images ? [images] : [])].flatMap(numbered);
  }

  private async ask(signal: AbortSignal): Promise<void> {
    const { bearer, api } = this.using;
    if ((await bearer()).caller.local === true) return; // offline: what is known already goes on
    const answer = await api.desired(this.etag, signal);
    if (answer === undefined) return;
    this.etag = answer.etag;
    this.wanted = answer.state;
    this.using.leases.want(this.wantedVersions());
    await this.using.desiredImages?.tell(answer.state.images);
  }

  /** @returns Whether it is here as a whole. */
  private async fetched(resource: WantedResource, dueMs: number, signal: AbortSignal): Promise<boolean> {
    const { folder, name, latest } = resource;
    const [wanted] = numbered(resource);
    if (wanted === undefined) return false;
    return this.using.prefetch.run({ resource: { folder, name }, version: wanted.version, latest, dueMs }, signal);
  }

  private async apply(images: WantedResource, dueMs: number, signal: AbortSignal): Promise<void> {
    const [version] = numbered(images);
    if (version === undefined || !(await this.fetched(images, dueMs, signal))) return;
    const { images: unlock } = this.using;
    const { state, error, loaded } = unlock.status();
    const settled = state === 'ready' ? isSame(loaded, version) : FINAL.includes(error);
    if (isSame(this.applied, version) && settled) return;
    const started = await unlock.start(version);
    // What somebody else has begun may be another version: the next round looks again.
    if (started.begun || !isRunning(started.state)) this.applied = version;
    // Not waited for: the flight gate may hold it for hours. The next round sees how it went.
  }

  private async report(signal: AbortSignal): Promise<void> {
    const { api, open, facts, images, bearer } = this.using;
    if ((await bearer()).caller.local === true) return;
    const resources: ArchiveVersion[] = [];
    for (const { folder, name } of this.wanted.resources) {
      const [version] = await open.completeVersions({ folder, name });
      if (version !== undefined) resources.push({ folder, name, version });
    }
    const { state, loaded } = images.status();
    // Before the first images are there, how far the wanted ones are.
    const running = loaded ?? this.applied;
    const report: DeviceReport = { ...facts, resources, images: running === undefined ? null : { ...running, state } };
    const text = JSON.stringify(report);
    if (text === this.reported) return;
    await api.report(report, signal);
    this.reported = text;
  }

  private async step(what: string, work: () => Promise<unknown>, signal: AbortSignal): Promise<void> {
    if (isOver(signal)) return;
    try {
      await work();
      this.warned.delete(what);
    } catch (error) {
      if (isOver(signal)) return;
      const code = error instanceof DomainError ? String(error.code) : 'unexpected error';
      const why = error instanceof DomainError ? error.message : '';
      if (this.warned.get(what) !== code) this.using.log.warn(`Update of ${what}: ${code}. ${why} It is tried again.`);
      this.warned.set(what, code);
    }
  }
}

function isSame(one: ArchiveVersion | null | undefined, other: ArchiveVersion): boolean {
  return one?.folder === other.folder && one.name === other.name && one.version === other.version;
}

function isOver(signal: AbortSignal): boolean {
  return signal.aborted;
}

function numbered({ folder, name, version }: WantedResource): readonly ArchiveVersion[] {
  return version === undefined ? [] : [{ folder, name, version }];
}
