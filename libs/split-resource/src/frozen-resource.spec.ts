import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';

import {
  importSigningKey,
  importVerificationKey,
  openRecipeKey,
  openSegment,
  pointFromJwk,
  type PrivateJwk,
  type PublicJwk,
  recipientThumbprint,
  sealRecipeKey,
  signGrantToken,
  softwareEcdh,
  type Statement,
  statementHash,
  StatementKeys,
  verifyGrantToken,
} from '@azaion/crypto';
import { ManualClock } from '@azaion/kernel';

import { ResourceError } from './errors.js';
import { FetchResource } from './fetch/fetch-resource.js';
import { PackReader } from './fetch/pack-reader.js';
import { type GrantAnswer, GrantApi, type GrantRequest } from './ports/grant-api.js';
import { PackSource } from './ports/pack-source.js';
import { segmentPlace } from './recipe/recipe-place.js';
import { decodeRoot, encodeRoot } from './recipe/recipe-root.js';
import { InMemoryPackStore, InMemorySegmentStore, InMemoryStatementTrust } from './testing/index.js';
import { collect } from './testing/world.js';

/** What the first release published: two packs, every part of the recipe, and what a device was given. */
const frozen = JSON.parse(readFileSync(new URL('./fixtures/sealed-resource-v2.json', import.meta.url), 'utf8')) as {
  content: { textBytes: number; sha256: string };
  nowSeconds: number;
  rootPublicJwk: PublicJwk;
  keyDocument: string;
  statementPrivateJwk: PrivateJwk;
  statement: Statement;
  statementJws: string;
  recipientPrivateJwk: PrivateJwk;
  nonce: string;
  grantToken: string;
  sealedRecipeKey: { enc: string; ciphertext: string };
  recipeKey: string;
  root: {
    encoded: string;
    chunking: { algorithm: string; minBytes: number; averageBytes: number; maxBytes: number };
    totalBytes: number;
    sha256: string;
    chunks: number;
    packs: number;
    chunkSegmentHashes: string[];
    packSegmentHashes: string[];
    chunkSegmentBytes: number[];
  };
  segments: Record<string, string>;
  packs: Record<string, string>;
};

const { statement, nowSeconds } = frozen;
const resource = { folder: statement.folder, name: statement.resource };
const recipientPoint = pointFromJwk(frozen.recipientPrivateJwk);
const ecdh = softwareEcdh(frozen.recipientPrivateJwk);

async function statementKeys(): Promise<StatementKeys> {
  const root = await importVerificationKey('root-1', frozen.rootPublicJwk);
  return StatementKeys.verify(frozen.keyDocument, root, 0, nowSeconds);
}

/** Gives out the frozen parts. Only the token is signed anew, with the frozen key: it has to answer a nonce of today. */
class FrozenApi extends GrantApi {
  override async grant({ nonce }: GrantRequest): Promise<GrantAnswer> {
    const grantToken = await signGrantToken(
      {
        grantId: 'frozen',
        statementHash: statementHash(frozen.statementJws),
        rootHash: statement.rootHash,
        subject: statement.publisher,
        recipient: recipientThumbprint(recipientPoint),
        issuedAt: nowSeconds,
        notAfter: nowSeconds + 900,
        latestVersion: statement.version,
        minVersion: 0,
        nonce,
        lease: false,
      },
      await importSigningKey('statement-1', frozen.statementPrivateJwk),
    );
    const recipeKey = Buffer.from(frozen.recipeKey, 'hex');
    const rootHash = Buffer.from(statement.rootHash, 'hex');
    return {
      grantId: 'frozen',
      statement: frozen.statementJws,
      grantToken,
      sealedRecipeKey: await sealRecipeKey(recipeKey, rootHash, recipientPoint, grantToken),
      urls: [],
      verified: false,
    };
  }

  override segment(_: string, kind: string, index: number): Promise<Uint8Array> {
    return Promise.resolve(segment(`${kind}/${index}`));
  }

  override packUrls(): Promise<[]> {
    return Promise.resolve([]);
  }
}

class FrozenPacks extends PackSource {
  override readonly remote = false;

  override open(...[{ pack }, range]: Parameters<PackSource['open']>): Promise<Readable> {
    const text = frozen.packs[pack.packId];
    if (text === undefined) return Promise.reject(new ResourceError('pack.not-found', 'There is no such pack.'));
    const bytes = Buffer.from(text, 'base64');
    expect(pack).toEqual({ packId: pack.packId, sizeBytes: bytes.length, sha256: hash('sha256', bytes, 'buffer') });
    return Promise.resolve(Readable.from([bytes.subarray(range.start, range.end)]));
  }
}

function segment(part: string): Buffer {
  return Buffer.from(frozen.segments[part] ?? '', 'base64');
}

function content(): Buffer {
  const lines: string[] = [];
  for (let index = 0, length = 0; length < frozen.content.textBytes; index++) {
    const line = `line ${index} of what the first release published\n`;
    lines.push(line);
    length += line.length;
  }
  // Hashes do not compress: the last chunk is stored as it is.
  const noise = Array.from({ length: 50 }, (_, index) => hash('sha256', `azaion frozen resource ${index}`, 'buffer'));
  return Buffer.concat([Buffer.from(lines.join('')).subarray(0, frozen.content.textBytes), ...noise]);
}

describe('a resource that the first release published opens for ever', () => {
  it('as a whole and in ranges, through a grant, with every check', async () => {
    const fetcher = new FetchResource({
      api: new FrozenApi(),
      trust: new InMemoryStatementTrust(statementKeys),
      reader: new PackReader(new InMemoryPackStore(), [new FrozenPacks()]),
      segments: new InMemorySegmentStore(),
      clock: new ManualClock(nowSeconds * 1000),
    });
    const opened = await fetcher.run({ resource, recipient: { point: recipientPoint, ecdh, serial: undefined } });
    expect(opened.statement).toEqual(statement);
    expect(opened.etag).toBe(`"${statement.version}-${statement.rootHash}"`);
    const expected = content();
    expect(hash('sha256', expected)).toBe(frozen.content.sha256);
    expect(Buffer.from(opened.sha256).toString('hex')).toBe(frozen.content.sha256);
    expect((await collect(opened.read())).equals(expected)).toBe(true);
    const range = { start: frozen.content.textBytes - 1000, end: frozen.content.textBytes + 1000 };
    expect((await collect(opened.read(range))).equals(expected.subarray(range.start, range.end))).toBe(true);
  });

  it('its grant gives the recipe key to the device it was issued for', async () => {
    const expected = { statement, statementJws: frozen.statementJws, recipientPoint, nonce: frozen.nonce, nowSeconds };
    expect(await verifyGrantToken(frozen.grantToken, await statementKeys(), expected)).toMatchObject({ lease: true });
    const sealed = {
      enc: Buffer.from(frozen.sealedRecipeKey.enc, 'hex'),
      ciphertext: Buffer.from(frozen.sealedRecipeKey.ciphertext, 'hex'),
    };
    const recipeKey = await openRecipeKey(sealed, recipientPoint, ecdh, frozen.grantToken, statement.rootHash);
    expect(Buffer.from(recipeKey).toString('hex')).toBe(frozen.recipeKey);
  });

  it('its root says what it said, and is written today as it was then', () => {
    const { folderId, resourceId, version } = statement;
    const encoded = openSegment(
      segment('root/0'),
      Buffer.from(frozen.recipeKey, 'hex'),
      segmentPlace({ folderId, resourceId, version }, 'root', 0, true),
    );
    const { encoded: encodedHex, ...expected } = frozen.root;
    expect(Buffer.from(encoded).toString('hex')).toBe(encodedHex);
    const root = decodeRoot(encoded);
    const inHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
    expect({
      ...root,
      sha256: inHex(root.sha256),
      chunkSegmentHashes: root.chunkSegmentHashes.map(inHex),
      packSegmentHashes: root.packSegmentHashes.map(inHex),
    }).toEqual(expected);
    expect(inHex(encodeRoot(root))).toBe(encodedHex);
    expect([root.packs, Object.keys(frozen.packs).length]).toEqual([2, 2]);
  });
});
