import type { Caller } from '@azaion/identity';
import type { GrantApi, Recipient, UploadApi } from '@azaion/split-resource';
import type { KeySource } from '@azaion/unlock';

import type { CatalogueEntry } from '@azaion/adapters/resource-api';

import type { CallerSessions } from './caller-sessions.js';

/** A verified caller together with the token that proved it. */
export interface TokenBearer {
  readonly caller: Caller;
  /** Passed on to the Admin API unchanged. */
  readonly token: string;
}

/** The Admin API as one caller may use it. No instance is shared between callers. */
export abstract class CallerApis {
  /** For fetching. @param signal - Ends calls under way. */
  abstract grants(bearer: TokenBearer, signal: AbortSignal): GrantApi;
  /** For publishing. */
  abstract uploads(bearer: TokenBearer): UploadApi;
  /** For legacy image archives. */
  abstract archiveKeys(bearer: TokenBearer): KeySource;
  /** What a folder holds. @throws ResourceError. */
  abstract list(bearer: TokenBearer, folder: string): Promise<readonly CatalogueEntry[]>;
}

/** The device's own identity, where this Loader runs on an enrolled device. */
export interface DeviceRecipient {
  readonly serial: string;
  recipient(): Promise<Recipient>;
}

/** Whose key a caller's grants are sealed to: the device's for its own session, a key of the session for a person. */
export async function recipientFor(
  caller: Caller,
  sessions: CallerSessions,
  device: DeviceRecipient | undefined,
): Promise<Recipient> {
  return device !== undefined && isDevice(caller, device) ? device.recipient() : sessions.recipientOf(caller);
}

/** Whether a caller is this Loader's own device. */
export function isDevice(caller: Caller, device: DeviceRecipient | undefined): boolean {
  return device !== undefined && caller.deviceSerial === device.serial;
}
