import {
  type AccessTokens,
  type ApiClient,
  type CatalogueEntry,
  fixedToken,
  HttpCatalogue,
  HttpGrantApi,
  HttpKeySource,
  HttpUploadApi,
} from '@azaion/adapters/resource-api';
import type { GrantApi, UploadApi } from '@azaion/split-resource';
import type { KeySource } from '@azaion/unlock';

import { CallerApis, type TokenBearer } from './caller-apis.js';

/** The device's own session as far as calls for others need it. */
export interface DeviceTokens extends AccessTokens {
  readonly serial: string;
}

/** Calls the Admin API with the caller's token and, on an enrolled device, the device's proof beside it: both must pass. */
export class HttpCallerApis extends CallerApis {
  constructor(
    private readonly client: ApiClient,
    private readonly device: DeviceTokens | undefined,
  ) {
    super();
  }

  override grants(bearer: TokenBearer, signal: AbortSignal): GrantApi {
    return new HttpGrantApi(this.client, this.tokensOf(bearer), this.proofFor(bearer), signal);
  }

  override uploads(bearer: TokenBearer): UploadApi {
    return new HttpUploadApi(this.client, this.tokensOf(bearer), this.proofFor(bearer));
  }

  override archiveKeys(bearer: TokenBearer): KeySource {
    return new HttpKeySource(this.client, this.tokensOf(bearer), this.proofFor(bearer));
  }

  override list(bearer: TokenBearer, folder: string): Promise<readonly CatalogueEntry[]> {
    return new HttpCatalogue(this.client, this.tokensOf(bearer), this.proofFor(bearer)).list(folder);
  }

  private tokensOf(bearer: TokenBearer): AccessTokens {
    return this.isDevice(bearer) ? (this.device ?? fixedToken(bearer.token)) : fixedToken(bearer.token);
  }

  private proofFor(bearer: TokenBearer): AccessTokens | undefined {
    return this.isDevice(bearer) ? undefined : this.device;
  }

  private isDevice({ caller }: TokenBearer): boolean {
    return this.device !== undefined && caller.deviceSerial === this.device.serial;
  }
}
