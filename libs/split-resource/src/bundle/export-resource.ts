import { randomBytes } from 'node:crypto';

import { openRecipeKey, type SegmentKind, type Statement, verifyGrantToken, verifyStatement } from '@azaion/crypto';
import { type Clock, type ResourceName, toBase64Url } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import type { Recipient } from '../fetch/recipient.js';
import type { StatementTrust } from '../fetch/statement-trust.js';
import type { PackRef } from '../pack.js';
import type { GrantApi } from '../ports/grant-api.js';
import { Recipe, verifyRecipe } from '../recipe/recipe.js';

/** Where the parts of a version go. */
export interface ExportTarget {
  /** A sealed part of the recipe whose hash was checked. */
  segment(rootHash: string, kind: SegmentKind, index: number, sealed: Uint8Array): Promise<void>;
}

/** A version whose recipe was exported. Its packs are to be fetched. */
export interface ExportedResource {
  readonly grantId: string;
  readonly statement: Statement;
  readonly statementJws: string;
  readonly packs: readonly PackRef[];
}

/** Reads a version's recipe with a person's grant, checks all of it, and hands out its sealed parts as they are. */
export class ExportResource {
  constructor(
    private readonly api: GrantApi,
    private readonly trust: StatementTrust,
    private readonly clock: Clock,
  ) {}

  /** @throws As `FetchResource.run`; ResourceError `recipe.invalid`. */
  async run(
    resource: ResourceName,
    version: number | undefined,
    recipient: Recipient,
    target: ExportTarget,
  ): Promise<ExportedResource> {
    const nonce = toBase64Url(randomBytes(32));
    const answer = await this.api.grant({ resource, version, recipientPoint: recipient.point, nonce });
    const keys = await this.trust.keys(true);
    const statement = await verifyStatement(answer.statement, keys);
    if (
      statement.folder !== resource.folder ||
      statement.resource !== resource.name ||
      (version !== undefined && statement.version !== version)
    )
      throw new ResourceError('api.unexpected', 'The Admin API answered with another version than was asked for.');
    await verifyGrantToken(answer.grantToken, keys, {
      statement,
      statementJws: answer.statement,
      recipientPoint: recipient.point,
      nonce,
      nowSeconds: Math.floor(this.clock.nowMs() / 1000),
    });
    const { folderId, resourceId, rootHash } = statement;
    const recipeKey = await openRecipeKey(
      answer.sealedRecipeKey,
      recipient.point,
      recipient.ecdh,
      answer.grantToken,
      rootHash,
    );
    const recipe = await Recipe.open(
      { folderId, resourceId, version: statement.version },
      recipeKey,
      async (kind, index, maxBytes, isSigned) => {
        const sealed = await this.api.segment(answer.grantId, kind, index, maxBytes);
        if (isSigned?.(sealed) !== true)
          throw new ResourceError('resource.integrity', 'A part of the recipe is not the one that was signed.');
        await target.segment(rootHash, kind, index, sealed);
        return sealed;
      },
      rootHash,
    );
    const packs: PackRef[] = [];
    await verifyRecipe(recipe, {
      pack: (pack) => {
        packs.push({ ...pack, sha256: Uint8Array.from(pack.sha256) });
      },
    });
    recipeKey.fill(0);
    return { grantId: answer.grantId, statement, statementJws: answer.statement, packs };
  }
}
