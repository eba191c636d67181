import { readFile } from 'node:fs/promises';

import { replaceDurably } from '@azaion/adapters/file-store';
import {
  type ArchiveName,
  type ArchiveVersion,
  type EngineImage,
  type ExpectedImage,
  type LoadedImages,
  type ServiceRetry,
  UNLOCK_STATES,
  type UnlockRecord,
  UnlockRecords,
} from '@azaion/unlock';

/** Keeps the record in one JSON file. */
export class FileUnlockRecords extends UnlockRecords {
  constructor(private readonly path: string) {
    super();
  }

  override async load(): Promise<UnlockRecord | undefined> {
    try {
      return parseRecord(await readFile(this.path, 'utf8'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  override async save(record: UnlockRecord): Promise<void> {
    await replaceDurably(this.path, JSON.stringify(record));
  }
}

function parseRecord(text: string): UnlockRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  // Records of earlier releases have fewer: the first four, or those but the archive, `rollbackDue` and `refused`, or but `retry`.
  const { state, error, detail, images, ...more } = value as Record<string, unknown>;
  const { servicesDue = false, rollbackDue = false, refused = null } = more;
  const loaded = loadedImages(more['loaded'] ?? null);
  const archive = archiveName(more['archive'] ?? loaded);
  const lastGood = lastGoodImages(more['lastGood'] ?? null);
  const retry = serviceRetry(more['retry'] ?? null);
  const knownState = UNLOCK_STATES.find((known) => known === state);
  if (knownState === undefined || !isTextOrNull(error) || !isTextOrNull(detail)) return undefined;
  if (!Array.isArray(images) || !images.every(isExpectedImage)) return undefined;
  if (typeof servicesDue !== 'boolean' || typeof rollbackDue !== 'boolean' || !isTextOrNull(refused)) return undefined;
  if (loaded === undefined || archive === undefined || lastGood === undefined || retry === undefined) return undefined;
  return {
    state: knownState,
    error,
    detail,
    archive,
    images,
    loaded,
    lastGood,
    servicesDue,
    rollbackDue,
    refused,
    retry,
  };
}

/** @returns `undefined` when it is none, as the others below. */
function archiveName(value: unknown): ArchiveName | null | undefined {
  if (value === null) return null;
  if (typeof value !== 'object') return undefined;
  const { identity, version = null } = value as Record<string, unknown>;
  return typeof identity === 'string' && (version === null || isVersion(version)) ? { identity, version } : undefined;
}

function loadedImages(value: unknown): LoadedImages | null | undefined {
  const name = archiveName(value);
  if (name === null || name === undefined) return name;
  const { images } = value as Record<string, unknown>;
  return isEngineImages(images) ? { ...name, images } : undefined;
}

/** Earlier releases kept the images alone: of which archive they are is found out when the services are brought up the next time. */
function lastGoodImages(value: unknown): LoadedImages | null | undefined {
  if (!Array.isArray(value)) return loadedImages(value);
  if (!isEngineImages(value)) return undefined;
  return value.length === 0 ? null : { identity: '', version: null, images: value };
}

function serviceRetry(value: unknown): ServiceRetry | null | undefined {
  if (value === null) return null;
  if (typeof value !== 'object') return undefined;
  const { identity, attempts, atMs } = value as Record<string, unknown>;
  return typeof identity === 'string' && isWhole(attempts) && isWhole(atMs) ? { identity, attempts, atMs } : undefined;
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

function isVersion(value: unknown): value is ArchiveVersion {
  const { folder, name, version } = (value ?? {}) as Record<string, unknown>;
  return typeof folder === 'string' && typeof name === 'string' && isWhole(version);
}

function isExpectedImage(value: unknown): value is ExpectedImage {
  if (typeof value !== 'object' || value === null) return false;
  const { reference, configDigest, manifestDigest } = value as Record<string, unknown>;
  return typeof reference === 'string' && isTextOrNull(configDigest) && isTextOrNull(manifestDigest);
}

function isEngineImages(value: unknown): value is readonly EngineImage[] {
  return (
    Array.isArray(value) &&
    value.every((image: unknown) => {
      const { reference, imageId } = (image ?? {}) as Record<string, unknown>;
      return typeof reference === 'string' && typeof imageId === 'string';
    })
  );
}

function isTextOrNull(value: unknown): value is string | null {
  return value === null || typeof value === 'string';
}
