import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';

import {
  assertInScope,
  importVerificationKey,
  type PublicJwk,
  type Statement,
  StatementKeys,
  verifyStatement,
} from '@azaion/crypto';

import { Recipe, verifyRecipe } from './recipe/recipe.js';
import { refusal } from './testing/refusal.js';

interface FrozenStatement {
  readonly statement: Statement;
  readonly statementJws: string;
}

function fixture(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`./fixtures/${name}.json`, import.meta.url), 'utf8')) as unknown;
}

const keys = fixture('sealed-resource-v2') as { nowSeconds: number; rootPublicJwk: PublicJwk; keyDocument: string };
const kinds = fixture('sealed-kinds-v2') as {
  empty: FrozenStatement & { readonly recipeKey: string; readonly segments: Readonly<Record<string, string>> };
  images: FrozenStatement;
};

async function verified(jws: string): Promise<Statement> {
  const root = await importVerificationKey('root-1', keys.rootPublicJwk);
  return verifyStatement(jws, await StatementKeys.verify(keys.keyDocument, root, 0, keys.nowSeconds));
}

describe('what the first release published of other kinds opens for ever', () => {
  it('an empty resource, with no chunks and no packs, of one device alone', async () => {
    const { statement, statementJws, recipeKey, segments } = kinds.empty;
    expect(await verified(statementJws)).toEqual(statement);
    expect(() => assertInScope(statement, 'azj-0001')).not.toThrow();
    for (const serial of [undefined, 'azj-0002'])
      expect(() => assertInScope(statement, serial)).toThrow(
        expect.objectContaining(refusal('statement.scope')) as Error,
      );
    const { folderId, resourceId, version, rootHash } = statement;
    const recipe = await Recipe.open(
      { folderId, resourceId, version },
      Buffer.from(recipeKey, 'hex'),
      (kind, index) => Promise.resolve(Buffer.from(segments[`${kind}/${index}`] ?? '', 'base64')),
      rootHash,
    );
    await verifyRecipe(recipe);
    expect([recipe.root.totalBytes, recipe.root.chunks, recipe.root.packs]).toEqual([0, 0, 0]);
    expect(Buffer.from(recipe.root.sha256).equals(hash('sha256', '', 'buffer'))).toBe(true);
  });

  it('the statement of an image archive, with and without a manifest', async () => {
    expect(await verified(kinds.images.statementJws)).toEqual(kinds.images.statement);
    expect(kinds.images.statement.images?.map(({ manifestDigest }) => manifestDigest === null)).toEqual([false, true]);
  });
});
