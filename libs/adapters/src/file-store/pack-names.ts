import { PACK_ID_PATTERN, ResourceError } from '@azaion/split-resource';

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Whether a text is the id of a folder, and so safe in a path. */
export function isFolderId(text: string): boolean {
  return UUID.test(text);
}

/** Refuses ids that could lead out of the directory. @throws ResourceError `recipe.invalid`. */
export function assertPackNames(folderId: string, packId: string): void {
  if (!isFolderId(folderId) || !PACK_ID_PATTERN.test(packId))
    throw new ResourceError('recipe.invalid', 'The recipe names a pack in a way that is not valid.');
}
