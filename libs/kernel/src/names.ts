import { DomainError } from './domain-error.js';

/** Who acts on each name error. */
export const NAME_ERRORS = { 'name.invalid': 'caller' } as const;
/** Codes of this area. */
export type NameErrorCode = keyof typeof NAME_ERRORS;
/** A folder or resource name that could not be accepted. */
export class NameError extends DomainError<NameErrorCode> {}

/** Folder and resource names: 1 to 200 characters, no separators, never starting with a dot (loader HTTP contract, "Names"). */
export const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;

/** A UUID in its usual form, in lower case (RFC 9562). */
export const UUID_PATTERN = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The full name of a resource: `folder/name`. Both parts match {@link NAME_PATTERN}. */
export interface ResourceName {
  readonly folder: string;
  readonly name: string;
}

/** `folder/name`: how people write the name, and what no other resource has. */
export function resourcePath({ folder, name }: ResourceName): string {
  return `${folder}/${name}`;
}

/** Whether a text may be used as a folder or resource name. */
export function isValidName(text: unknown): text is string {
  return typeof text === 'string' && NAME_PATTERN.test(text);
}

/**
 * Checks both parts of a resource's name.
 *
 * @throws NameError `name.invalid`, naming the part.
 */
export function resourceName(folder: string, name: string): ResourceName {
  if (!isValidName(folder))
    throw new NameError('name.invalid', 'The folder name is not valid: use letters, digits, ".", "_" and "-".', {
      details: { field: 'folder' },
    });
  if (!isValidName(name))
    throw new NameError('name.invalid', 'The file name is not valid: use letters, digits, ".", "_" and "-".', {
      details: { field: 'filename' },
    });
  return { folder, name };
}
