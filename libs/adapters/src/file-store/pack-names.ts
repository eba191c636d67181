import { UUID_PATTERN } from '@azaion/kernel';
import { PACK_ID_PATTERN, ResourceError } from '@azaion/split-resource';

/** Whether a text is the id of a folder, and so safe in a path. */
export function isFolderId(text: string): boolean {
  return UUID_PATTERN.test(text);
}

/** Refuses ids that could lead out of the directory. @throws ResourceError `recipe.invalid`. */
export function assertPackNames(folderId: string, packId: string): void {
  if (!isFolderId(folderId) || !PACK_ID_PATTERN.test(packId))
    throw new ResourceError('recipe.invalid', 'The recipe names a pack in a way that is not valid.');
}
