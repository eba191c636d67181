import { createCipheriv, hash } from 'node:crypto';
import { Readable } from 'node:stream';
import { zstdCompressSync } from 'node:zlib';

import { inspectImageArchive } from '@azaion/adapters/image-archive';
import { parseRootKey } from '@azaion/adapters/trust-store';
import {
  CHUNK_ID_BYTES,
  DRAFT_VERSION,
  generateP256KeyPair,
  importSigningKey,
  importVerificationKey,
  legacyAesKey,
  legacyDecrypt,
  legacyEncrypt,
  MAX_CHUNK_BYTES,
  needsPassphrase,
  openChunk,
  openSegment,
  readGrantToken,
  readKeyDocument,
  readPrivateKey,
  readStatement,
  sealChunk,
  sealSegment,
  signGrantToken,
  signKeyDocument,
  signStatement,
  StatementKeys,
  writePrivateKey,
} from '@azaion/crypto';
import { parseDeviceConf } from '@azaion/identity';
import { DomainError, resourceName, Secret } from '@azaion/kernel';
import {
  CHUNK_RECORD_BYTES,
  ChunkSegment,
  CHUNKING,
  encodeChunkTable,
  encodeGrantFile,
  encodeManifest,
  PACK_RECORD_BYTES,
  PackSegment,
  parseChunkTable,
  parseGrantFile,
  parseManifest,
  Recipe,
  RecipeBuilder,
} from '@azaion/split-resource';
import { imageArchive } from '@azaion/testing';

import { answerTargets } from './answer-targets.js';
import { deviceTargets } from './device-targets.js';
import { tpmTargets } from './tpm-targets.js';

/** Something that reads bytes from outside. */
export interface FuzzTarget {
  readonly name: string;
  /** Good inputs, to be changed. */
  readonly seeds: readonly Buffer[];
  /** Reads the bytes. What it returns or throws as {@link FuzzTarget.refuses} knows is right; anything else is a finding. */
  readonly read: (bytes: Buffer) => unknown;
  /** Whether an error is this reader's way to refuse. Default: an error with a code of the domain. */
  readonly refuses?: (error: unknown) => boolean;
}

const UUID = 'd955a364-7317-42c7-8a48-fed77b31f69f';
const HEX = '0f'.repeat(32);
const TABLE_PACK_BYTES = 4000;
const PLACE = { folderId: UUID, resourceId: UUID, version: DRAFT_VERSION };
const ID = Buffer.from(UUID.replaceAll('-', ''), 'hex');
const ROOT_PLACE = {
  folderId: ID,
  resourceId: ID,
  version: DRAFT_VERSION,
  kind: 'root' as const,
  index: 0,
  last: true,
};

/** Every reader of bytes from outside that this process can call. Each comes with keys of its own: what is authentic may be badly formed all the same. */
export async function fuzzTargets(): Promise<readonly FuzzTarget[]> {
  const own = [...(await recipes()), ...chunks(), ...(await documents()), ...(await files())];
  return [...own, ...(await tpmTargets()), ...(await deviceTargets()), ...(await answerTargets())];
}

async function recipes(): Promise<FuzzTarget[]> {
  const key = new Uint8Array(32).fill(7);
  return [
    {
      name: 'recipe-root',
      seeds: await roots(key),
      read: (bytes) => {
        const sealed = sealSegment(bytes, key, ROOT_PLACE);
        return Recipe.open(PLACE, key, () => Promise.resolve(sealed), undefined);
      },
    },
    {
      name: 'sealed-segment',
      seeds: [Buffer.from(sealSegment(Buffer.alloc(100), key, ROOT_PLACE))],
      read: (bytes) => openSegment(bytes, key, ROOT_PLACE),
    },
    {
      name: 'chunk-segment',
      seeds: [chunkRecord(), Buffer.concat([chunkRecord(), chunkRecord()])],
      read: (bytes) =>
        ChunkSegment.parse(bytes, {
          count: Math.max(1, Math.floor(bytes.length / CHUNK_RECORD_BYTES)),
          plaintextBytes: 100 * Math.max(1, Math.floor(bytes.length / CHUNK_RECORD_BYTES)),
          packs: 1,
          maxChunkBytes: MAX_CHUNK_BYTES,
        }),
    },
    {
      name: 'pack-segment',
      seeds: [packRecord(1), Buffer.concat([packRecord(1), packRecord(2)])],
      read: (bytes) => PackSegment.parse(bytes, Math.max(1, Math.floor(bytes.length / PACK_RECORD_BYTES))),
    },
    {
      name: 'chunk-table',
      seeds: [tableOf(1), tableOf(3)],
      read: (bytes) => {
        let end = 0;
        for (const { id, offset, sealedBytes } of parseChunkTable(bytes, TABLE_PACK_BYTES)) {
          if (id.length !== CHUNK_ID_BYTES || offset < end) throw new Error('a chunk that lies over another');
          end = offset + sealedBytes;
        }
        if (end === 0 || end > TABLE_PACK_BYTES) throw new Error('a chunk outside of the pack');
      },
    },
  ];
}

/** Roots of an empty resource and of one chunk, as a publisher makes them. */
async function roots(key: Uint8Array): Promise<Buffer[]> {
  const found: Buffer[] = [];
  for (const chunks of [0, 1]) {
    const builder = new RecipeBuilder(PLACE, key, CHUNKING, (kind, _index, sealed) => {
      if (kind === 'root') found.push(Buffer.from(openSegment(sealed, key, ROOT_PLACE)));
      return Promise.resolve();
    });
    if (chunks === 1)
      await builder.add({
        h: new Uint8Array(32),
        key,
        domain: 0,
        packIndex: 0,
        offset: 0,
        sealedBytes: 129,
        plaintextBytes: 100,
      });
    const pack = { packId: '0f'.repeat(16), sizeBytes: 129, sha256: new Uint8Array(32) };
    await builder.finish(chunks === 1 ? [pack] : [], new Uint8Array(32));
  }
  return found;
}

function chunkRecord(): Buffer {
  const record = Buffer.alloc(CHUNK_RECORD_BYTES, 1);
  // domain(2) packIndex(4) offset(4) sealedLength(4) plaintextLength(4)
  Buffer.from('0000000000000000000000000081' + '00000064', 'hex').copy(record, 64);
  return record;
}

function tableOf(chunks: number): Buffer {
  const packed = Array.from({ length: chunks }, (_, index) => ({
    id: new Uint8Array(CHUNK_ID_BYTES).fill(index),
    offset: 1000 * index,
    sealedBytes: 1000,
  }));
  return encodeChunkTable(packed);
}

function packRecord(id: number): Buffer {
  const record = Buffer.alloc(PACK_RECORD_BYTES, id);
  record.writeUInt32BE(1024, 16);
  return record;
}

function chunks(): FuzzTarget[] {
  const plaintext = Buffer.from('what the chunk holds, again and again. '.repeat(40));
  const secrets = {
    h: hash('sha256', plaintext, 'buffer'),
    key: new Uint8Array(32).fill(9),
    plaintextBytes: plaintext.length,
  };
  return [
    {
      name: 'sealed-chunk',
      seeds: [Buffer.from(sealChunk(plaintext, secrets))],
      read: (bytes) => openChunk(bytes, secrets),
    },
    {
      // What a publisher who holds the key may write: the tag is right, the frame is not.
      name: 'chunk-frame',
      seeds: [zstdCompressSync(plaintext), plaintext, zstdCompressSync(Buffer.alloc(600_000))],
      read: (bytes) => {
        const codec = Uint8Array.of(1);
        const nonce = Buffer.alloc(12, 3);
        const cipher = createCipheriv('aes-256-gcm', secrets.key, nonce);
        const length = Buffer.alloc(4);
        length.writeUInt32BE(secrets.plaintextBytes);
        cipher.setAAD(Buffer.concat([Buffer.from('azaion-chunk-v2'), codec, secrets.h, length]));
        const sealed = Buffer.concat([cipher.update(bytes), cipher.final()]);
        return openChunk(Buffer.concat([codec, nonce, sealed, cipher.getAuthTag()]), secrets);
      },
    },
  ];
}

async function documents(): Promise<FuzzTarget[]> {
  const pair = await generateP256KeyPair();
  const signing = await importSigningKey('key', pair.privateJwk);
  const key = await importVerificationKey('key', pair.publicJwk);
  const keyDocument = {
    version: 1,
    expiresAt: 4_000_000_000,
    keys: [{ kid: 'key', alg: 'ES256' as const, key: pair.publicJwk }],
  };
  const keys = await StatementKeys.verify(await signKeyDocument(keyDocument, signing), key, 0, 1);
  const statement = {
    folderId: UUID,
    folder: 'models',
    resourceId: UUID,
    resource: 'a.onnx',
    version: 1,
    kind: 'images' as const,
    totalBytes: 5,
    rootHash: HEX,
    publisher: UUID,
    committedAt: 1,
    scope: 'fleet',
    images: [{ reference: 'a:1', configDigest: `sha256:${HEX}`, manifestDigest: null }],
  };
  const token = {
    grantId: UUID,
    statementHash: HEX,
    rootHash: HEX,
    subject: UUID,
    recipient: HEX,
    issuedAt: 1,
    notAfter: 2,
    latestVersion: 1,
    minVersion: 0,
    nonce: 'bm9uY2U',
    lease: true,
  };
  const kinds = [
    { name: 'statement', value: statement, sign: signStatement, read: (jws: string) => readStatement(jws, key) },
    { name: 'grant-token', value: token, sign: signGrantToken, read: (jws: string) => readGrantToken(jws, keys) },
    {
      name: 'key-document',
      value: keyDocument,
      sign: signKeyDocument,
      read: (jws: string) => readKeyDocument(jws, key),
    },
  ];
  const targets: FuzzTarget[] = [];
  for (const { name, value, sign, read } of kinds) {
    const jws = await sign(value as never, signing);
    targets.push({
      name: `signed-${name}`,
      seeds: [Buffer.from(jws)],
      read: (bytes) => read(bytes.toString('latin1')),
    });
    targets.push({
      // The signature is right: what is signed is not.
      name,
      seeds: [Buffer.from(JSON.stringify(value))],
      read: async (bytes) => {
        const parsed = parsedObject(bytes);
        return parsed === undefined ? undefined : read(await sign(parsed as never, signing));
      },
      refuses: (error) => isDomainError(error) || error instanceof RangeError,
    });
  }
  return targets;
}

async function files(): Promise<FuzzTarget[]> {
  const pair = await generateP256KeyPair();
  const manifest = encodeManifest({
    createdAt: 1,
    resources: [
      { folder: 'models', name: 'a', version: 1, kind: 'file', totalBytes: 1, folderId: UUID, rootHash: HEX },
    ],
    serials: ['azj-0001'],
    files: [{ path: `statements/${HEX}.jws`, sizeBytes: 1, sha256: HEX }],
  });
  const grant = encodeGrantFile({
    grantId: UUID,
    statement: 'a.b.c',
    grantToken: 'a.b.c',
    sealedRecipeKey: { enc: new Uint8Array(65), ciphertext: new Uint8Array(80) },
    verified: false,
  });
  const privateKey = await writePrivateKey({ kid: 'key', key: new Secret(pair.privateJwk) }, undefined);
  const legacyKey = legacyAesKey('a key');
  const legacy: Buffer[] = [];
  for await (const part of Readable.from([Buffer.alloc(100, 5)]).pipe(
    legacyEncrypt(legacyKey),
  ) as AsyncIterable<Buffer>)
    legacy.push(part);
  return [
    { name: 'bundle-manifest', seeds: [Buffer.from(manifest)], read: (bytes) => parseManifest(bytes.toString('utf8')) },
    {
      name: 'bundle-grant',
      seeds: [Buffer.from(grant)],
      read: (bytes) => parseGrantFile(bytes.toString('utf8'), 'a.b.c'),
    },
    {
      name: 'private-key',
      seeds: [Buffer.from(privateKey)],
      // A passphrase costs half a second a case: what needs one is left out.
      read: (bytes) =>
        needsPassphrase(bytes.toString('utf8')) ? undefined : readPrivateKey(bytes.toString('utf8'), undefined),
    },
    {
      name: 'root-key',
      seeds: [Buffer.from(JSON.stringify({ ...pair.publicJwk, kid: 'root' }))],
      read: (bytes) => parseRootKey(bytes.toString('utf8')),
      refuses: (error) => error instanceof TypeError && error.message.startsWith('The statement root key'),
    },
    {
      name: 'device-conf',
      seeds: [Buffer.from('# device\nAZAION_DEVICE_EMAIL=azj-0001@azaion.com\nexport AZAION_DEVICE_PASSWORD="a b"\n')],
      read: (bytes) => parseDeviceConf(bytes.toString('utf8')),
      refuses: (error) => isDomainError(error) || (error instanceof Error && error.constructor === Error),
    },
    {
      name: 'names',
      seeds: [Buffer.from('models/azaion.onnx'), Buffer.from('../x/..%2f')],
      read: (bytes) => {
        const [folder = '', ...rest] = bytes.toString('utf8').split('/');
        const name = resourceName(folder, rest.join('/'));
        if (/[\\/]|^\.|\0/.test(name.folder) || /[\\/]|^\.|\0/.test(name.name))
          throw new Error('a name that is a path');
      },
    },
    {
      name: 'legacy',
      seeds: [Buffer.concat(legacy)],
      read: async (bytes) => {
        let sizeBytes = 0;
        for await (const part of Readable.from([bytes]).pipe(legacyDecrypt(legacyKey)) as AsyncIterable<Buffer>)
          sizeBytes += part.length;
        return sizeBytes;
      },
    },
    {
      name: 'image-archive',
      seeds: await seedArchives(),
      read: (bytes) => inspectImageArchive(Readable.from([bytes])),
    },
  ];
}

async function seedArchives(): Promise<Buffer[]> {
  const archive = await imageArchive([{ name: 'azaion/fuzz:1', layers: [{ seed: 'fuzz', sizeBytes: 600 }] }]);
  const parts: Buffer[] = [];
  for await (const part of archive.open() as AsyncIterable<Buffer>) parts.push(Buffer.from(part));
  return [Buffer.concat(parts)];
}

function parsedObject(bytes: Buffer): object | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** An error with a code of the domain. */
export function isDomainError(error: unknown): boolean {
  return error instanceof DomainError;
}
