import { readFileSync } from 'node:fs';

import { deriveChunkId, deriveChunkKey } from './chunk-keys.js';
import { type GrantToken, openRecipeKey, verifyGrantToken } from './grant-token.js';
import { StatementKeys } from './key-document.js';
import { importVerificationKey, pointFromJwk, type PrivateJwk, softwareEcdh } from './p256.js';
import { openChunk } from './sealed-chunk.js';
import { openSegment, type SegmentKind } from './sealed-segment.js';
import type { PublicJwk } from './signed-document.js';
import { type Statement, verifyStatement } from './statement.js';

interface FrozenChunk {
  h: string;
  key: string;
  id: string;
  plaintextBytes: number;
  sealed: string;
}

const frozen = JSON.parse(readFileSync(new URL('./fixtures/sealed-v2.json', import.meta.url), 'utf8')) as {
  domainKey: string;
  chunks: { stored: FrozenChunk; zstd: FrozenChunk };
  recipeKey: string;
  segment: {
    folderId: string;
    resourceId: string;
    version: number;
    kind: SegmentKind;
    index: number;
    last: boolean;
    content: string;
    sealed: string;
  };
  rootPublicJwk: PublicJwk;
  keyDocument: string;
  statement: Statement;
  statementJws: string;
  recipientPrivateJwk: PrivateJwk;
  grant: GrantToken;
  grantToken: string;
  sealedRecipeKey: { enc: string; ciphertext: string };
};

function hex(text: string): Buffer {
  return Buffer.from(text, 'hex');
}

async function statementKeys(): Promise<StatementKeys> {
  const root = await importVerificationKey('root-1', frozen.rootPublicJwk);
  return StatementKeys.verify(frozen.keyDocument, root, 0, frozen.grant.issuedAt);
}

describe('what the first release made opens for ever', () => {
  it.each([
    [0, frozen.chunks.stored, Buffer.from(Array.from({ length: 200 }, (_, i) => (7 * i + 3) % 256))],
    [1, frozen.chunks.zstd, Buffer.alloc(5000, 'azaion ')],
  ])('a chunk of codec %i', (codec, chunk, plaintext) => {
    const sealed = hex(chunk.sealed);
    const h = hex(chunk.h);
    expect(sealed[0]).toBe(codec);
    expect(deriveChunkKey(hex(frozen.domainKey), h).toString('hex')).toBe(chunk.key);
    expect(deriveChunkId(hex(frozen.domainKey), h).toString('hex')).toBe(chunk.id);
    const opened = openChunk(sealed, { h, key: hex(chunk.key), plaintextBytes: chunk.plaintextBytes });
    expect(opened.equals(plaintext)).toBe(true);
  });

  it('a segment', () => {
    const { folderId, resourceId, content, sealed, ...place } = frozen.segment;
    const opened = openSegment(hex(sealed), hex(frozen.recipeKey), {
      ...place,
      folderId: hex(folderId),
      resourceId: hex(resourceId),
    });
    expect(opened.toString()).toBe(content);
  });

  it('a key document and a statement', async () => {
    const keys = await statementKeys();
    expect(keys.version).toBe(2);
    expect(await verifyStatement(frozen.statementJws, keys)).toEqual(frozen.statement);
  });

  it('a grant', async () => {
    const { statement, statementJws, grant, grantToken, sealedRecipeKey, recipientPrivateJwk } = frozen;
    const recipientPoint = pointFromJwk(recipientPrivateJwk);
    const expected = { statement, statementJws, recipientPoint, nonce: grant.nonce, nowSeconds: grant.issuedAt };
    expect(await verifyGrantToken(grantToken, await statementKeys(), expected)).toEqual(grant);
    const sealed = { enc: hex(sealedRecipeKey.enc), ciphertext: hex(sealedRecipeKey.ciphertext) };
    const ecdh = softwareEcdh(recipientPrivateJwk);
    const recipeKey = await openRecipeKey(sealed, recipientPoint, ecdh, grantToken, statement.rootHash);
    expect(Buffer.from(recipeKey).toString('hex')).toBe(frozen.recipeKey);
  });
});
