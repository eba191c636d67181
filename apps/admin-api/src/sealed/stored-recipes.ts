import type { KeyVault } from '@azaion/crypto';
import { Recipe } from '@azaion/split-resource';
import type { Selectable } from 'kysely';

import type { Queries } from '../persistence/database.js';
import type { VersionsTable } from '../persistence/schema.js';
import { recipeRow } from './commit-upload.js';

/** What opening a stored recipe needs of its version. */
export type RecipeVersion = Pick<
  Selectable<VersionsTable>,
  'resource_id' | 'version' | 'root_hash' | 'wrapped_recipe_key'
> & {
  readonly folder_id: string;
};

/** Recipes of committed versions, for the API's own work on them. */
export class StoredRecipes {
  constructor(private readonly vault: KeyVault) {}

  /**
   * Opens a version's recipe for as long as `work` takes; its key is overwritten afterwards.
   *
   * @throws CryptoError and ResourceError as `Recipe.open`; what `work` throws.
   */
  async open<Result>(on: Queries, version: RecipeVersion, work: (recipe: Recipe) => Promise<Result>): Promise<Result> {
    const { resource_id: resourceId, version: number, folder_id: folderId } = version;
    const key = await this.vault.unwrap('recipe', recipeRow(resourceId, number), version.wrapped_recipe_key);
    try {
      const recipe = await Recipe.open(
        { folderId, resourceId, version: number },
        key,
        async (kind, index) => {
          const row = await on
            .selectFrom('version_segments')
            .select('sealed')
            .where('resource_id', '=', resourceId)
            .where('version', '=', number)
            .where('kind', '=', kind)
            .where('index', '=', index)
            .executeTakeFirst();
          return row?.sealed ?? new Uint8Array();
        },
        version.root_hash,
      );
      return await work(recipe);
    } finally {
      key.fill(0);
    }
  }
}
