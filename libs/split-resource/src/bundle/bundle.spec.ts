import { hash, randomBytes, randomUUID } from 'node:crypto';

import {
  generateP256KeyPair,
  type GrantToken,
  importSigningKey,
  importVerificationKey,
  recipientThumbprint,
  sealRecipeKey,
  signGrantToken,
  signKeyDocument,
  type SigningKey,
  signStatement,
  type Statement,
  statementHash,
  StatementKeys,
} from '@azaion/crypto';
import { aStatement } from '@azaion/crypto/testing';
import { ManualClock } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import type { Recipient } from '../fetch/recipient.js';
import { packObjectKey } from '../pack.js';
import type { GrantAnswer, GrantApi, GrantRequest } from '../ports/grant-api.js';
import { InMemoryGrantApi } from '../testing/in-memory-admin-api.js';
import { InMemorySegmentStore } from '../testing/in-memory-segment-store.js';
import { softwareRecipient } from '../testing/software-recipient.js';
import { RESOURCE, TINY, World } from '../testing/world.js';
import {
  type BundledFile,
  type BundledResource,
  encodeManifest,
  grantPath,
  KEY_DOCUMENT_PATH,
  MANIFEST_PATH,
  packPath,
  segmentPath,
  statementPath,
} from './bundle-manifest.js';
import { BundleReader } from './bundle-reader.js';
import { ExportResource } from './export-resource.js';
import { ImportBundle, type ImportedBundle } from './import-bundle.js';
import {
  type BundleChecks,
  encodeGrantFile,
  parseGrantFile,
  verifyBundle,
  type VerifiedBundle,
} from './verify-bundle.js';
import { refusal } from '../testing/refusal.js';

const NOW_SECONDS = 1_800_000_000;
const SERIALS = ['azj-0001', 'azj-0002'] as const;
const [MINE, OTHERS] = SERIALS;

/** A bundle in memory, which tests spoil. */
class InMemoryBundle extends BundleReader {
  readonly files = new Map<string, Uint8Array>();

  override read(path: string, maxBytes: number): Promise<Buffer> {
    const bytes = this.files.get(path);
    return bytes === undefined || bytes.length > maxBytes
      ? Promise.reject(new ResourceError('bundle.invalid', `There is no ${path} of at most ${maxBytes} bytes.`))
      : Promise.resolve(Buffer.from(bytes));
  }

  override digest(path: string): Promise<{ sizeBytes: number; sha256: string } | undefined> {
    const bytes = this.files.get(path);
    return Promise.resolve(bytes && { sizeBytes: bytes.length, sha256: hash('sha256', bytes, 'hex') });
  }

  /** Writes the manifest that these files have. */
  seal(resources: readonly BundledResource[], serials: readonly string[] = SERIALS): void {
    const files: BundledFile[] = [];
    for (const [path, bytes] of this.files)
      if (path !== MANIFEST_PATH) files.push({ path, sizeBytes: bytes.length, sha256: hash('sha256', bytes, 'hex') });
    this.put(MANIFEST_PATH, encodeManifest({ createdAt: NOW_SECONDS, resources, serials, files }));
  }

  put(path: string, content: string | Uint8Array): void {
    this.files.set(path, typeof content === 'string' ? Buffer.from(content) : content);
  }
}

const { privateJwk, publicJwk } = await generateP256KeyPair();
const signingKey = await importSigningKey('key-1', privateJwk);
const foreignKey = await importSigningKey('key-1', (await generateP256KeyPair()).privateJwk);
const KEY_DOCUMENT = await signKeyDocument(
  { version: 1, expiresAt: NOW_SECONDS + 1, keys: [{ kid: 'key-1', alg: 'ES256', key: publicJwk }] },
  signingKey,
);
const root = await importVerificationKey('key-1', publicJwk);
const adoptKeys = (document: string): Promise<StatementKeys> => StatementKeys.verify(document, root, 0, NOW_SECONDS);

/** One version with everything that two devices need, and what of it a test wants otherwise. */
interface Version {
  readonly statement: Statement;
  readonly jws: string;
  readonly root: Uint8Array;
  readonly named: BundledResource;
}

let versions = 0;
async function version(changed: Partial<Statement> = {}, key: SigningKey = signingKey): Promise<Version> {
  const sealedRoot = randomBytes(100);
  const statement = aStatement({
    folderId: 'd955a364-7317-42c7-8a48-fed77b31f69f',
    version: ++versions,
    rootHash: hash('sha256', sealedRoot, 'hex'),
    committedAt: NOW_SECONDS - 100,
    ...changed,
  });
  const { folder, resource: name, version: number, kind, totalBytes, folderId, rootHash } = statement;
  const named = { folder, name, version: number, kind, totalBytes, folderId, rootHash };
  return { statement, jws: await signStatement(statement, key), root: sealedRoot, named };
}

const devices = new Map<string, Recipient & { serial: string }>(
  SERIALS.map((serial) => [serial, { ...softwareRecipient(serial), serial }]),
);
const deviceOf = (serial: string): Recipient & { serial: string } => {
  const device = devices.get(serial);
  if (device === undefined) throw new RangeError(serial);
  return device;
};

async function grantFor(
  serial: string,
  { statement, jws }: Pick<Version, 'statement' | 'jws'>,
  changed: Partial<GrantToken> = {},
  key: SigningKey = signingKey,
): Promise<Omit<GrantAnswer, 'urls'>> {
  const { point } = deviceOf(serial);
  const grantId = randomUUID();
  const token: GrantToken = {
    grantId,
    statementHash: statementHash(jws),
    rootHash: statement.rootHash,
    subject: randomUUID(),
    recipient: recipientThumbprint(point),
    issuedAt: NOW_SECONDS,
    notAfter: NOW_SECONDS + 1000,
    latestVersion: statement.version,
    minVersion: 0,
    nonce: 'bm9uY2U',
    lease: true,
    ...changed,
  };
  const grantToken = await signGrantToken(token, key);
  const rootHash = Buffer.from(statement.rootHash, 'hex');
  const sealedRecipeKey = await sealRecipeKey(randomBytes(32), rootHash, point, grantToken);
  return { grantId, statement: jws, grantToken, sealedRecipeKey, verified: false };
}

/** A good bundle of these versions. */
async function bundleOf(...all: readonly Version[]): Promise<InMemoryBundle> {
  const bundle = new InMemoryBundle();
  bundle.put(KEY_DOCUMENT_PATH, `${KEY_DOCUMENT}\n`);
  for (const each of all) {
    const { rootHash, folderId } = each.statement;
    bundle.put(statementPath(rootHash), each.jws);
    bundle.put(segmentPath(rootHash, 'root', 0), each.root);
    bundle.put(segmentPath(rootHash, 'chunks', 12), randomBytes(50));
    bundle.put(segmentPath(rootHash, 'packs', 0), randomBytes(40));
    bundle.put(packPath(folderId, rootHash.slice(0, 32)), randomBytes(30));
    for (const serial of SERIALS)
      bundle.put(grantPath(serial, rootHash), encodeGrantFile(await grantFor(serial, each)));
  }
  bundle.seal(all.map(({ named }) => named));
  return bundle;
}

const verified = (bundle: BundleReader, checks: Partial<BundleChecks> = {}): Promise<VerifiedBundle> =>
  verifyBundle(bundle, { keys: adoptKeys, ...checks });

describe('verifyBundle', () => {
  let one: Version;
  let two: Version;
  let bundle: InMemoryBundle;

  beforeEach(async () => {
    one = await version();
    two = await version({ kind: 'images', images: [] });
    bundle = await bundleOf(one, two);
  });

  /** Makes the manifest's sums those of the files again, as whoever changed them would. */
  const sealAgain = (): void => {
    bundle.seal([one.named, two.named]);
  };

  it('finds what it holds: the versions, and the grants of every device', async () => {
    const { resources, manifest, keys } = await verified(bundle);
    expect(resources.map(({ statement, statementJws }) => [statement, statementJws])).toEqual([
      [one.statement, one.jws],
      [two.statement, two.jws],
    ]);
    for (const { grants, statement } of resources) {
      expect(grants.map(({ serial }) => serial)).toEqual(SERIALS);
      for (const { serial, token, grant } of grants)
        expect([token.recipient, token.rootHash, token.grantId]).toEqual([
          recipientThumbprint(deviceOf(serial).point),
          statement.rootHash,
          grant.grantId,
        ]);
    }
    expect(manifest.serials).toEqual(SERIALS);
    expect(keys.version).toBe(1);
  });

  it('finds the grants of one device when it is asked for them alone, and versions without any', async () => {
    bundle.files.delete(grantPath(MINE, two.statement.rootHash));
    sealAgain();
    const { resources } = await verified(bundle, { serial: MINE });
    expect(resources.map(({ grants }) => grants.map(({ serial }) => serial))).toEqual([[MINE], []]);
  });

  it('reads every byte, and says how far it is', async () => {
    const sizes = [...bundle.files].filter(([path]) => path !== MANIFEST_PATH).map(([, bytes]) => bytes.length);
    const totalBytes = sizes.reduce((sum, size) => sum + size);
    const seen: number[][] = [];
    const { checkedBytes } = await verified(bundle, { onBytes: (...bytes) => seen.push(bytes) });
    expect(checkedBytes).toBe(totalBytes);
    expect(seen).toEqual(sizes.map((_, index) => [sizes.slice(0, index + 1).reduce((a, b) => a + b), totalBytes]));
  });

  describe('of which a file', () => {
    const path = (): string => packPath(one.statement.folderId, one.statement.rootHash.slice(0, 32));

    it.each([
      ['was changed', (bytes: Uint8Array) => Uint8Array.from(bytes, (byte, at) => (at === 7 ? byte ^ 1 : byte))],
      ['was cut off', (bytes: Uint8Array) => bytes.subarray(1)],
      ['is longer', (bytes: Uint8Array) => Buffer.concat([bytes, Buffer.alloc(1)])],
      ['is gone', () => undefined],
    ])('%s, is refused by its name, unless what is opened later is checked then', async (_, change) => {
      const changed = change(bundle.files.get(path()) ?? new Uint8Array());
      if (changed === undefined) bundle.files.delete(path());
      else bundle.files.set(path(), changed);
      await expect(verified(bundle)).rejects.toMatchObject({ code: 'resource.integrity', details: { path: path() } });
      expect((await verified(bundle, { files: false })).checkedBytes).toBe(0);
    });
  });

  it('refuses a key document that the pinned root has not signed', async () => {
    const foreign = await signKeyDocument(
      { version: 1, expiresAt: NOW_SECONDS + 1, keys: [{ kid: 'key-1', alg: 'ES256', key: publicJwk }] },
      foreignKey,
    );
    bundle.put(KEY_DOCUMENT_PATH, foreign);
    sealAgain();
    await expect(verified(bundle)).rejects.toMatchObject(refusal('key-document.invalid'));
  });

  it('refuses a statement that no trusted key has signed', async () => {
    bundle.put(statementPath(one.statement.rootHash), await signStatement(one.statement, foreignKey));
    sealAgain();
    await expect(verified(bundle)).rejects.toMatchObject(refusal('statement.invalid'));
  });

  it.each([
    { folder: 'other' },
    { name: 'other' },
    { version: 10_000 },
    { kind: 'images' },
    { totalBytes: 11 },
    { folderId: '00000000-0000-4000-8000-000000000000' },
  ] as const)('refuses a manifest that says %j where the statement does not', async (changed) => {
    bundle.seal([{ ...one.named, ...changed }, two.named]);
    await expect(verified(bundle)).rejects.toMatchObject(refusal('bundle.invalid'));
  });

  it('refuses the statement of another version in the place of one', async () => {
    bundle.put(statementPath(one.statement.rootHash), two.jws);
    sealAgain();
    await expect(verified(bundle)).rejects.toMatchObject(refusal('bundle.invalid'));
    const same = await version({ ...one.statement, rootHash: two.statement.rootHash });
    bundle.put(statementPath(one.statement.rootHash), same.jws);
    sealAgain();
    await expect(verified(bundle)).rejects.toMatchObject(refusal('bundle.invalid'));
  });

  it('refuses a recipe that is not the signed one, or none, whatever sums the manifest has', async () => {
    const refused = {
      code: 'resource.integrity',
      details: { resource: `${two.statement.folder}/${two.statement.resource}` },
    };
    bundle.put(segmentPath(two.statement.rootHash, 'root', 0), one.root);
    sealAgain();
    await expect(verified(bundle)).rejects.toMatchObject(refused);
    bundle.files.delete(segmentPath(two.statement.rootHash, 'root', 0));
    sealAgain();
    await expect(verified(bundle)).rejects.toMatchObject(refused);
  });

  describe('with a grant', () => {
    /** Puts another one in the place of this device's. */
    const withGrant = async (grant: Omit<GrantAnswer, 'urls'>): Promise<VerifiedBundle> => {
      bundle.put(grantPath(MINE, one.statement.rootHash), encodeGrantFile(grant));
      sealAgain();
      return verified(bundle);
    };

    it('that no trusted key has signed, is refused', async () => {
      const forged = await grantFor(MINE, one, {}, foreignKey);
      await expect(withGrant(forged)).rejects.toMatchObject(refusal('grant.invalid'));
    });

    it('of another version, is refused', async () => {
      const code = 'grant.not-for-statement';
      await expect(withGrant(await grantFor(MINE, two))).rejects.toMatchObject({ code });
      for (const changed of [{ statementHash: statementHash(two.jws) }, { rootHash: two.statement.rootHash }])
        await expect(withGrant(await grantFor(MINE, one, changed))).rejects.toMatchObject({ code });
    });

    it('that may not be kept, is refused', async () => {
      const online = await grantFor(MINE, one, { lease: false });
      await expect(withGrant(online)).rejects.toMatchObject(refusal('grant.invalid'));
    });

    it('under another id than it is signed with, is refused', async () => {
      const grant = await grantFor(MINE, one);
      await expect(withGrant({ ...grant, grantId: randomUUID() })).rejects.toMatchObject(refusal('grant.invalid'));
    });

    it('that the manifest does not name, is left alone', async () => {
      const { rootHash } = one.statement;
      bundle.files.delete(grantPath(MINE, rootHash));
      sealAgain();
      bundle.put(grantPath(MINE, rootHash), encodeGrantFile(await grantFor(MINE, one)));
      const [first] = (await verified(bundle)).resources;
      expect(first?.grants.map(({ serial }) => serial)).toEqual([OTHERS]);
    });
  });

  it.each([KEY_DOCUMENT_PATH, 'statement', MANIFEST_PATH, 'grant'])(
    'refuses a %s that is no text of its form',
    async (name) => {
      const { rootHash } = one.statement;
      const places: Record<string, string> = { statement: statementPath(rootHash), grant: grantPath(MINE, rootHash) };
      const path = places[name] ?? name;
      for (const content of ['', 'x', 'a.b', 'a.b.c.d', ' a.b.c d', '{}', 'null', Buffer.of(0xff)]) {
        bundle.put(path, content);
        if (path !== MANIFEST_PATH) sealAgain();
        await expect(verified(bundle)).rejects.toMatchObject(refusal('bundle.invalid'));
      }
      bundle.files.delete(path);
      await expect(verified(bundle, { files: false })).rejects.toMatchObject(refusal('bundle.invalid'));
    },
  );
});

describe('a grant’s file', () => {
  it('is read as it was written', async () => {
    const one = await version();
    const grant = await grantFor(MINE, one);
    expect(parseGrantFile(encodeGrantFile(grant), one.jws)).toEqual(grant);
  });

  it('carries no word of the verifier', async () => {
    const one = await version();
    const passed = { ...(await grantFor(MINE, one)), verified: true };
    expect(parseGrantFile(encodeGrantFile(passed), one.jws).verified).toBe(false);
  });

  const good = {
    grantId: 'd955a364-7317-42c7-8a48-fed77b31f69f',
    grantToken: 'a.b.c',
    enc: Buffer.alloc(65).toString('base64url'),
    ciphertext: Buffer.alloc(80).toString('base64url'),
  };
  const bytes = (sizeBytes: number): string => Buffer.alloc(sizeBytes).toString('base64url');

  it('takes what just fits', () => {
    const ciphertext = bytes(1024);
    const grantToken = `${'a'.repeat(256 * 1024 - 4)}.b.c`;
    expect(parseGrantFile(JSON.stringify({ ...good, ciphertext, grantToken }), 'a.b.c').grantToken).toBe(grantToken);
  });

  it.each([
    { more: 1 },
    ...[7, null, '', 'x', `${good.grantId}0`].map((grantId) => ({ grantId })),
    ...[7, null, '', 'a.b', 'a.b.c.d', ' a.b.c', 'a.b.c ', 'a.b.', '.b.c', 'a..c', 'a.b.+'].map((grantToken) => ({
      grantToken,
    })),
    ...[7, null, bytes(66), '*', `${good.enc}=`].map((enc) => ({ enc })),
    ...[7, null, bytes(1025), '*', `${good.ciphertext}=`].map((ciphertext) => ({ ciphertext })),
  ])('is refused with %p', (changed) => {
    expect(() => parseGrantFile(JSON.stringify({ ...good, ...changed }), 'a.b.c')).toThrow(
      expect.objectContaining(refusal('bundle.invalid')) as Error,
    );
  });

  it.each(['', '{', 'null', '7', '"text"'])('is refused as %j', (text) => {
    expect(() => parseGrantFile(text, 'a.b.c')).toThrow(expect.objectContaining(refusal('bundle.invalid')) as Error);
  });

  it('is refused with a token longer than any that is signed', () => {
    const grantToken = `${'a'.repeat(256 * 1024 - 3)}.b.c`;
    expect(() => parseGrantFile(JSON.stringify({ ...good, grantToken }), 'a.b.c')).toThrow(
      expect.objectContaining(refusal('bundle.invalid')) as Error,
    );
  });
});

describe('ImportBundle', () => {
  interface Taken {
    readonly grant: Omit<GrantAnswer, 'urls'>;
    readonly statement: Statement;
    readonly token: GrantToken;
  }
  let segments: InMemorySegmentStore;
  let taken: Taken[];
  let writes: string[];
  /** What keeping a lease throws. */
  let failure: Error | undefined;

  beforeEach(() => {
    segments = new InMemorySegmentStore();
    [taken, writes, failure] = [[], [], undefined];
    const write = segments.write.bind(segments);
    segments.write = (key, bytes) => {
      writes.push(key);
      return write(key, bytes);
    };
  });

  const imported = (bundle: BundleReader, serial: string = MINE, nowSeconds = NOW_SECONDS): Promise<ImportedBundle> =>
    new ImportBundle({
      adoptKeys,
      leases: {
        carried: (grant, statement, token) => {
          if (failure !== undefined) return Promise.reject(failure);
          taken.push({ grant, statement, token });
          return Promise.resolve();
        },
      },
      segments,
      recipient: deviceOf(serial),
      clock: new ManualClock(nowSeconds * 1000 + 999),
    }).run(bundle);

  const nameOf = ({ statement }: Version): ImportedBundle['opened'][number] => ({
    resource: { folder: statement.folder, name: statement.resource },
    version: statement.version,
  });

  it('takes over the leases of this device, and the sealed parts of their recipes', async () => {
    const all = [await version(), await version({ folder: 'maps' })] as const;
    const bundle = await bundleOf(...all);
    expect(await imported(bundle)).toEqual({ opened: all.map(nameOf), refused: [] });
    expect(taken.map(({ statement }) => statement)).toEqual(all.map(({ statement }) => statement));
    for (const { grant, token, statement } of taken) {
      expect(token.recipient).toBe(recipientThumbprint(deviceOf(MINE).point));
      expect(encodeGrantFile(grant)).toBe(bundle.files.get(grantPath(MINE, statement.rootHash))?.toString());
    }
    expect(segments.keys()).toHaveLength(6);
    for (const key of segments.keys())
      expect(
        Buffer.from((await segments.read(key)) ?? []).equals(bundle.files.get(`segments/${key}`) ?? Buffer.of(0)),
      ).toBe(true);
  });

  it('writes nothing again that is there, and what is there otherwise', async () => {
    const one = await version();
    const bundle = await bundleOf(one);
    await imported(bundle);
    const kept = `${one.statement.rootHash}/chunks/12`;
    expect(writes.splice(0)).toHaveLength(3);
    await imported(bundle);
    expect(writes).toEqual([]);
    await segments.write(kept, randomBytes(50));
    await imported(bundle);
    expect(writes).toEqual([kept, kept]);
  });

  it('is refused by a device that it is not for', async () => {
    const bundle = await bundleOf(await version());
    bundle.seal([], [OTHERS]);
    await expect(imported(bundle)).rejects.toMatchObject({ code: 'bundle.not-for-device', details: { serial: MINE } });
    expect(taken).toEqual([]);
  });

  it('opens nothing that another device published for itself', async () => {
    const all = [await version({ scope: `device:${OTHERS}` }), await version({ scope: `device:${MINE}` })] as const;
    const bundle = await bundleOf(...all);
    expect(await imported(bundle)).toMatchObject({ opened: [nameOf(all[1])], refused: [nameOf(all[0])] });
    expect(segments.keys().filter((key) => key.startsWith(all[0].statement.rootHash))).toEqual([]);
  });

  it('opens nothing with the grant of another device, or one that ended, and goes on with the others', async () => {
    const all = [await version(), await version(), await version(), await version()] as const;
    const [lacking, foreign, ended, good] = all;
    const bundle = await bundleOf(...all);
    bundle.files.delete(grantPath(MINE, lacking.statement.rootHash));
    for (const [each, serial, changed] of [
      [foreign, OTHERS, {}],
      [ended, MINE, { notAfter: NOW_SECONDS }],
      [good, MINE, { notAfter: NOW_SECONDS + 1 }],
    ] as const)
      bundle.put(grantPath(MINE, each.statement.rootHash), encodeGrantFile(await grantFor(serial, each, changed)));
    bundle.seal(all.map(({ named }) => named));
    const { opened, refused } = await imported(bundle);
    expect(opened).toEqual([nameOf(good)]);
    expect(refused).toMatchObject([lacking, foreign, ended].map(nameOf));
    expect(new Set(refused.map(({ reason }) => reason)).size).toBe(3);
    expect(segments.keys().every((key) => key.startsWith(good.statement.rootHash))).toBe(true);
  });

  it('says why a lease was not kept, and ends with what nobody expected', async () => {
    const one = await version();
    const bundle = await bundleOf(one);
    failure = new ResourceError('resource.forbidden', 'This version was withdrawn.');
    expect(await imported(bundle)).toEqual({
      opened: [],
      refused: [{ ...nameOf(one), reason: 'This version was withdrawn.' }],
    });
    failure = new TypeError('a mistake');
    await expect(imported(bundle)).rejects.toBe(failure);
  });

  it('looks at the signatures, not at the sums of files, which are checked when they are opened', async () => {
    const one = await version();
    const bundle = await bundleOf(one);
    bundle.files.delete(packPath(one.statement.folderId, one.statement.rootHash.slice(0, 32)));
    expect((await imported(bundle)).opened).toEqual([nameOf(one)]);
  });
});

describe('ExportResource', () => {
  const clock = new ManualClock(NOW_SECONDS * 1000);
  let world: World;
  let written: Map<string, Uint8Array>;

  beforeEach(async () => {
    world = await World.create({ chunking: TINY, packTargetBytes: 1000, clock });
    written = new Map();
    await world.publish(randomBytes(5000));
  });

  const exported = (api: GrantApi = world.grants, number?: number): ReturnType<ExportResource['run']> =>
    new ExportResource(api, world.trust, clock).run(RESOURCE, number, world.recipient, {
      segment: (rootHash, kind, index, sealed) => {
        written.set(segmentPath(rootHash, kind, index), sealed);
        return Promise.resolve();
      },
    });

  /** The API with answers that somebody changed. */
  const changing = (change: Partial<GrantApi>): GrantApi => Object.assign(new InMemoryGrantApi(world.admin), change);

  it('hands out the sealed recipe, part by part, and names every pack', async () => {
    const { statement, statementJws, packs, grantId } = await exported();
    expect(statement).toMatchObject({ folder: RESOURCE.folder, resource: RESOURCE.name, version: 1 });
    expect([...written.keys()].map((path) => path.split('/').slice(2).join('/'))).toEqual(
      expect.arrayContaining(['root/0', 'chunks/0', 'packs/0']),
    );
    const sealedRoot = written.get(segmentPath(statement.rootHash, 'root', 0)) ?? new Uint8Array();
    expect(hash('sha256', sealedRoot, 'hex')).toBe(statement.rootHash);
    expect(packs.map(({ packId }) => packObjectKey(statement.folderId, packId)).sort()).toEqual(
      [...world.objects.keys()].sort(),
    );
    for (const { packId, sizeBytes, sha256 } of packs) {
      const stored = world.objects.get((await world.grants.packUrls(grantId, [packId]))[0]?.url, {
        start: 0,
        end: sizeBytes,
      });
      expect(hash('sha256', stored, 'hex')).toBe(Buffer.from(sha256).toString('hex'));
      expect(await world.objects.head(packObjectKey(statement.folderId, packId))).toEqual({ sizeBytes });
    }
    expect(statementJws.split('.')).toHaveLength(3);
  });

  it('exports the version that was asked for', async () => {
    await world.publish(randomBytes(100));
    expect((await exported(world.grants, 1)).statement.version).toBe(1);
    expect((await exported()).statement.version).toBe(2);
  });

  it('refuses another version or resource than was asked for', async () => {
    await world.publish(randomBytes(100));
    const older = changing({ grant: (request) => world.grants.grant({ ...request, version: 1 }) });
    await expect(exported(older, 2)).rejects.toMatchObject(refusal('api.unexpected'));
    for (const resource of [
      { ...RESOURCE, folder: 'maps' },
      { ...RESOURCE, name: 'other' },
    ]) {
      const elsewhere = new ExportResource(
        changing({ grant: (request) => world.grants.grant({ ...request, resource: RESOURCE }) }),
        world.trust,
        clock,
      );
      const target = { segment: () => Promise.resolve() };
      await expect(elsewhere.run(resource, undefined, world.recipient, target)).rejects.toMatchObject(
        refusal('api.unexpected'),
      );
    }
    expect(written.size).toBe(0);
  });

  it('refuses a grant that was made for another request, another key, or that has ended', async () => {
    const with_ = (changed: Partial<GrantRequest>): GrantApi =>
      changing({ grant: (request) => world.grants.grant({ ...request, ...changed }) });
    await expect(exported(with_({ nonce: 'b3RoZXI' }))).rejects.toMatchObject(refusal('grant.wrong-nonce'));
    await expect(exported(with_({ recipientPoint: softwareRecipient().point }))).rejects.toMatchObject(
      refusal('grant.foreign-recipient'),
    );
    const late = new ExportResource(world.grants, world.trust, new ManualClock((NOW_SECONDS + 8 * 86_400) * 1000));
    await expect(
      late.run(RESOURCE, undefined, world.recipient, { segment: () => Promise.resolve() }),
    ).rejects.toMatchObject(refusal('grant.expired'));
    expect(written.size).toBe(0);
  });

  it('asks with a nonce of 32 bytes that is new every time', async () => {
    const nonces: string[] = [];
    const api = changing({
      grant: (request) => {
        nonces.push(request.nonce);
        return world.grants.grant(request);
      },
    });
    await exported(api);
    await exported(api);
    expect(nonces.map((nonce) => Buffer.from(nonce, 'base64url').length)).toEqual([32, 32]);
    expect(nonces[0]).not.toBe(nonces[1]);
  });

  it.each(['root', 'chunks', 'packs'] as const)('hands out no %s part but the one that was signed', async (kind) => {
    const api = changing({
      segment: async (grantId, asked, index, most) => {
        const sealed = Uint8Array.from(await world.grants.segment(grantId, asked, index, most));
        if (asked === kind) sealed.set([(sealed.at(-1) ?? 0) ^ 1], sealed.length - 1);
        return sealed;
      },
    });
    await expect(exported(api)).rejects.toMatchObject(refusal('resource.integrity'));
    expect([...written.keys()].filter((path) => path.includes(`/${kind}/`))).toEqual([]);
  });
});
