import { invalid } from './image-index.js';

/** Files in one archive. */
export const MAX_ENTRIES = 20_000;
/** Larger files are layers: nothing in them is needed. */
export const MAX_SMALL_FILE_BYTES = 1024 * 1024;
/** All small files of one archive together. */
export const MAX_SMALL_FILES_BYTES = 32 * 1024 * 1024;
const MAX_NAME_LENGTH = 1024;
const OPENING_BRACES: readonly (number | undefined)[] = [0x5b, 0x7b];

/** Whether a file that begins so may be a manifest or a configuration. */
export function mayBeJson(beginning: Uint8Array): boolean {
  return OPENING_BRACES.includes(beginning[0]);
}

/** The one spelling of a file's name; empty for the archive's own directory. @throws UnlockError `unlock.archive-invalid` for a name that leads elsewhere. */
export function admitName(rawName: string): string {
  const name = rawName.replace(/^(?:\.\/+)+/, '').replace(/\/+$/, '');
  if (name.length > MAX_NAME_LENGTH || name.startsWith('/') || name.includes('\0') || hasDotSegment(name))
    throw invalid('it holds a file with a forbidden name');
  return name;
}

function hasDotSegment(name: string): boolean {
  return name !== '' && name.split('/').some((segment) => segment === '' || segment === '.' || segment === '..');
}
