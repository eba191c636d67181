import {
  type DesiredState,
  type DeviceReport,
  type HttpDesiredApi,
  type WantedResource,
} from '@azaion/adapters/resource-api';
import { DomainError, type ResourceName } from '@azaion/kernel';
import { type UnlockStatus } from '@azaion/unlock';

import { type TokenBearer } from '../session/caller-apis.js';
import { type OpenForCaller } from '../session/open-for-caller.js';
import { type Prefetch } from './prefetch.js';
import { type RenewLeases } from './renew-leases.js';

/** Trying the same archive again would stop the services each time, or somebody does not want it. */
const FINAL: readonly (string | null)[] = ['unlock.cancelled', 'unlock.services-unhealthy'];

/** A version by its number. */
type NumberedResource = ResourceName & { readonly version: number };

/** The unlock as an update needs it. */
export interface ImageUpdates {
  status(): Pick<UnlockStatus, 'error' | 'state'>;
  /** Starts an unlock of this archive; it waits for the flight gate by itself. */
  start(wanted: NumberedResource): Promise<unknown>;
}

/** What {@link KeepUpToDate} works with. */
export interface KeepUpToDateDependencies {
  readonly api: Pick<HttpDesiredApi, 'desired' | 'report'>;
  readonly bearer: () => Promise<TokenBearer>;
  readonly renewal: Pick<RenewLeases, 'run'>;
  readonly prefetch: Pick<Prefetch, 'run'>;
  readonly open: Pick<OpenForCaller, 'completeVersions'>;
  readonly images: ImageUpdates;
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
  private applied: string | undefined;
  private runningImages: NumberedResource | undefined;
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
    for (const resource of this.wanted.resources)
      await this.step(pathOf(resource), () => this.fetched(resource, dueMs, signal), signal);
    const { images } = this.wanted;
    if (images !== undefined)
      await this.step(`${pathOf(images)} as images`, () => this.apply(images, dueMs, signal), signal);
    await this.step('report', () => this.report(signal), signal);
  }

  /** Renews leases, also while a round is at work: fetching takes hours where a short lease lasts one. Never rejects. */
  async renew(signal: AbortSignal): Promise<void> {
    const pinned = [...this.wanted.resources, ...(this.wanted.images ? [this.wanted.images] : [])].flatMap(numbered);
    await this.step('leases', () => this.using.renewal.run(pinned, signal), signal);
  }

  private async ask(signal: AbortSignal): Promise<void> {
    const { bearer, api } = this.using;
    if ((await bearer()).caller.local === true) return; // offline: what is known already goes on
    const answer = await api.desired(this.etag, signal);
    if (answer === undefined) return;
    this.etag = answer.etag;
    this.wanted = answer.state;
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
    const key = `${pathOf(images)}@${String(version.version)}`;
    const { images: unlock } = this.using;
    const { state, error } = unlock.status();
    if (this.applied === key && (state === 'ready' || FINAL.includes(error))) return;
    this.runningImages = { folder: images.folder, name: images.name, version: version.version };
    await unlock.start(this.runningImages);
    this.applied = key;
    // Not waited for: the flight gate may hold it for hours. The next round sees how it went.
  }

  private async report(signal: AbortSignal): Promise<void> {
    const { api, open, facts, images, bearer } = this.using;
    if ((await bearer()).caller.local === true) return;
    const resources: NumberedResource[] = [];
    for (const { folder, name } of this.wanted.resources) {
      const [version] = await open.completeVersions({ folder, name });
      if (version !== undefined) resources.push({ folder, name, version });
    }
    const running = this.runningImages && { ...this.runningImages, state: images.status().state };
    const report: DeviceReport = { ...facts, resources, images: running ?? null };
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

function isOver(signal: AbortSignal): boolean {
  return signal.aborted;
}

function numbered({ folder, name, version }: WantedResource): readonly NumberedResource[] {
  return version === undefined ? [] : [{ folder, name, version }];
}

function pathOf({ folder, name }: ResourceName): string {
  return `${folder}/${name}`;
}
