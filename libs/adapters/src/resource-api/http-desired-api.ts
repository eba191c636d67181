import { NAME_PATTERN, type ResourceName } from '@azaion/kernel';

import type { AccessTokens } from './access-tokens.js';
import { ApiAnswer } from './api-answer.js';
import { type ApiClient, apiPath, readJson } from './api-client.js';

const MAX_RESOURCES = 256;
const MAX_ANSWER_BYTES = 256 * 1024;
const MAX_VERSION = 0x7fff_ffff;

/** One resource that a device should hold. */
export interface WantedResource extends ResourceName {
  /** `undefined` while `latest` is wanted and there is none. */
  readonly version: number | undefined;
  /** Whether the newest is wanted, whatever its number. */
  readonly latest: boolean;
}

/** What a device should hold and run. */
export interface DesiredState {
  readonly resources: readonly WantedResource[];
  /** The image archive to run; `undefined` when nobody says. */
  readonly images: WantedResource | undefined;
}

/** What a device holds and runs. */
export interface DeviceReport {
  readonly loaderVersion: string;
  readonly binding: string;
  readonly resources: readonly (ResourceName & { readonly version: number })[];
  readonly images: (ResourceName & { readonly version: number; readonly state: string }) | null;
}

/** A desired state with the tag to ask for the next one by. */
export interface TaggedState {
  readonly etag: string | undefined;
  readonly state: DesiredState;
}

/** What a device is told and what it tells (docs/reference/admin-http.md, "Desired state"). Throws ResourceError `api.*`. */
export class HttpDesiredApi {
  constructor(
    private readonly client: ApiClient,
    private readonly tokens: AccessTokens,
    private readonly serial: string,
  ) {}

  /** @param etag - Of the state at hand. @returns `undefined` when it is unchanged. */
  async desired(etag: string | undefined, signal: AbortSignal): Promise<TaggedState | undefined> {
    const answer = await this.client.call({
      method: 'GET',
      path: '/devices/me/desired',
      tokens: this.tokens,
      ifNoneMatch: etag,
      expect: etag === undefined ? [200] : [200, 304],
      maxBytes: MAX_ANSWER_BYTES,
      signal,
    });
    if (answer.status === 304) return undefined;
    return { etag: answer.etag, state: readJson(answer.body, readState) };
  }

  /** Says what the device holds and runs. */
  async report(report: DeviceReport, signal: AbortSignal): Promise<void> {
    await this.client.call({
      method: 'POST',
      path: apiPath('devices', this.serial, 'report'),
      tokens: this.tokens,
      json: report,
      expect: [204],
      maxBytes: MAX_ANSWER_BYTES,
      signal,
    });
  }
}

function readState(value: unknown): DesiredState {
  const answer = new ApiAnswer(value);
  return {
    resources: answer.list('resources', MAX_RESOURCES).map(readWanted),
    images: answer.isNull('images') ? undefined : readWanted(answer.object('images')),
  };
}

function readWanted(answer: ApiAnswer): WantedResource {
  const name = { folder: answer.text('folder', 200, NAME_PATTERN), name: answer.text('name', 200, NAME_PATTERN) };
  if (!answer.isText('version')) return { ...name, latest: false, version: answer.count('version', 1, MAX_VERSION) };
  answer.oneOf('version', ['latest']);
  return {
    ...name,
    latest: true,
    version: answer.has('newest') ? answer.count('newest', 1, MAX_VERSION) : undefined,
  };
}
