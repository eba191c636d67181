import { readFile } from 'node:fs/promises';

import { replaceDurably } from '@azaion/adapters/file-store';
import { type EngineImage, type ExpectedImage, UNLOCK_STATES, type UnlockRecord, UnlockRecords } from '@azaion/unlock';

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
  // Records of an earlier release have only the first four.
  const {
    state,
    error,
    detail,
    images,
    loaded = null,
    lastGood = [],
    servicesDue = false,
  } = value as Record<string, unknown>;
  const knownState = UNLOCK_STATES.find((known) => known === state);
  if (knownState === undefined || !isTextOrNull(error) || !isTextOrNull(detail)) return undefined;
  if (!Array.isArray(images) || !images.every(isExpectedImage)) return undefined;
  if (!isLoaded(loaded) || !isEngineImages(lastGood) || typeof servicesDue !== 'boolean') return undefined;
  return { state: knownState, error, detail, images, loaded, lastGood, servicesDue };
}

function isExpectedImage(value: unknown): value is ExpectedImage {
  if (typeof value !== 'object' || value === null) return false;
  const { reference, configDigest, manifestDigest } = value as Record<string, unknown>;
  return typeof reference === 'string' && isTextOrNull(configDigest) && isTextOrNull(manifestDigest);
}

function isLoaded(value: unknown): value is UnlockRecord['loaded'] {
  if (value === null) return true;
  if (typeof value !== 'object') return false;
  const { identity, images } = value as Record<string, unknown>;
  return typeof identity === 'string' && isEngineImages(images);
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
