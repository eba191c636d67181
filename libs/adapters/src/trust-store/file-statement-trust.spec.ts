import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { generateP256KeyPair, importSigningKey, type P256KeyPair, signKeyDocument } from '@azaion/crypto';
import { DeviceStateKey } from '@azaion/identity';
import { InMemoryDeviceIdentity } from '@azaion/identity/testing';
import { ManualClock } from '@azaion/kernel';
import { ResourceError } from '@azaion/split-resource';

import { FileStatementTrust, parseRootKey, type RootKey, type StatementTrustOptions } from './index.js';

const NOW_MS = 1_800_000_000_000;

let directory: string;
let clock: ManualClock;
let rootPair: P256KeyPair;
let root: RootKey;
let document: string | Error;
let shownRoot: RootKey;
let fetches: number;
let warnings: string[];

async function keyDocument(version: number, pair = rootPair, livesSeconds = 3600): Promise<string> {
  const { publicJwk } = await generateP256KeyPair();
  return signKeyDocument(
    { version, expiresAt: NOW_MS / 1000 + livesSeconds, keys: [{ kid: 's', alg: 'ES256', key: publicJwk }] },
    await importSigningKey('root', pair.privateJwk),
  );
}

function open(overrides: Partial<StatementTrustOptions> = {}): Promise<FileStatementTrust> {
  return FileStatementTrust.open({
    dataDirectory: directory,
    root,
    trustOnFirstUse: false,
    documents: {
      statementKeys: () => {
        fetches += 1;
        return document instanceof Error ? Promise.reject(document) : Promise.resolve(document);
      },
      statementRoot: () => Promise.resolve(shownRoot),
    },
    clock,
    warn: (message) => warnings.push(message),
    ...overrides,
  });
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'trust-'));
  clock = new ManualClock(NOW_MS);
  rootPair = await generateP256KeyPair();
  root = { kid: 'root', key: rootPair.publicJwk };
  shownRoot = root;
  document = await keyDocument(5);
  fetches = 0;
  warnings = [];
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe('FileStatementTrust with a pinned root', () => {
  it('verifies the document, keeps it and shares one fetch among all who wait', async () => {
    const trust = await open();
    const all = await Promise.all([trust.keys(), trust.keys(), trust.keys(true)]);
    expect(all.map(({ version }) => version)).toEqual([5, 5, 5]);
    expect(fetches).toBe(1);
    clock.advance(9 * 60_000);
    await trust.keys();
    expect(fetches).toBe(1);
    await trust.keys(true);
    expect(fetches).toBe(2);
  });

  it('does not fetch again for every statement with an unknown key', async () => {
    const trust = await open();
    for (let turn = 0; turn < 20; turn += 1) await trust.keys(true);
    expect(fetches).toBe(1);
  });

  it('refuses a document by another root, also where the API shows that root', async () => {
    const other = await generateP256KeyPair();
    shownRoot = { kid: 'root', key: other.publicJwk };
    document = await keyDocument(6, other);
    await expect((await open({ trustOnFirstUse: true })).keys()).rejects.toMatchObject({
      code: 'key-document.invalid',
    });
    expect(warnings).toEqual([]);
  });

  it('refuses an older document, also after a restart', async () => {
    await (await open()).keys();
    document = await keyDocument(4);
    await expect((await open()).keys()).rejects.toMatchObject({ code: 'key-document.rollback' });
  });

  it('goes on with the kept document while the API is out of reach, until that expires', async () => {
    await (await open()).keys();
    document = new ResourceError('api.unreachable', 'down');
    const restarted = await open();
    expect((await restarted.keys()).version).toBe(5);
    clock.advance(3600_000);
    await expect(restarted.keys()).rejects.toMatchObject({ code: 'key-document.expired' });
  });

  it('says that the API is out of reach when there is nothing to go on with', async () => {
    document = new ResourceError('api.unreachable', 'down');
    await expect((await open()).keys()).rejects.toMatchObject({ code: 'api.unreachable' });
  });
});

describe('FileStatementTrust without a configured root', () => {
  it('does not start where nothing may be trusted on first sight', async () => {
    await expect(open({ root: undefined })).rejects.toThrow('STATEMENT_ROOT_KEY_FILE');
  });

  it('trusts the first root it sees, says so once, and no other afterwards', async () => {
    await (await open({ root: undefined, trustOnFirstUse: true })).keys();
    expect(warnings).toHaveLength(1);
    const other = await generateP256KeyPair();
    shownRoot = { kid: 'root', key: other.publicJwk };
    document = await keyDocument(6, other);
    const restarted = await open({ root: undefined, trustOnFirstUse: true });
    await expect(restarted.keys()).rejects.toMatchObject({ code: 'key-document.invalid' });
    expect(warnings).toHaveLength(1);
  });
});

describe('FileStatementTrust, accepted versions', () => {
  it('only rise, survive a restart, and are apart for each resource', async () => {
    const trust = await open();
    expect(await trust.highestVersion('f', 'r')).toBe(0);
    await Promise.all([trust.accept('f', 'r', 3), trust.accept('f', 'r', 7), trust.accept('f', 'other', 2)]);
    await trust.accept('f', 'r', 5);
    const restarted = await open();
    expect(await restarted.highestVersion('f', 'r')).toBe(7);
    expect(await restarted.highestVersion('f', 'other')).toBe(2);
  });

  it('keep the marks of another process that uses the same directory', async () => {
    const [first, second] = [await open(), await open()];
    await first.accept('f', 'a', 1);
    await second.accept('f', 'b', 2);
    expect(await (await open()).highestVersion('f', 'a')).toBe(1);
  });

  it.each(['', '{', '[]', '{"keyDocumentVersion":-1,"versions":{}}', '{"keyDocumentVersion":1,"versions":{"a":"b"}}'])(
    'do not start afresh silently from a damaged record %j',
    async (text) => {
      await (await open()).accept('f', 'r', 1);
      const path = join(directory, 'statement-trust.json');
      expect(await readFile(path, 'utf8')).toContain('f/r');
      await writeFile(path, text);
      await expect(open()).rejects.toThrow('damaged');
    },
  );
});

describe('FileStatementTrust on a device', () => {
  const path = (): string => join(directory, 'statement-trust.json');
  let key: DeviceStateKey;
  beforeEach(async () => {
    key = await DeviceStateKey.of(await InMemoryDeviceIdentity.create());
  });

  it('keeps its record under a MAC, and has it again after a restart without any network', async () => {
    const trust = await open({ key });
    await trust.keys();
    await trust.accept('f', 'r', 7);
    document = new ResourceError('api.unreachable', 'down');
    const reopened = await open({ key });
    expect((await reopened.keys()).version).toBe(5);
    expect(await reopened.highestVersion('f', 'r')).toBe(7);
  });

  it('does not start with a record that was changed, or that is another device’s, and says so', async () => {
    await (await open({ key })).accept('f', 'r', 7);
    const text = await readFile(path(), 'utf8');
    await writeFile(path(), text.replace('"f/r":7', '"f/r":6'));
    const notItsOwn =
      /statement-trust\.json was written by another device.*restore the data directory.*delete the file/;
    await expect(open({ key })).rejects.toThrow(notItsOwn);
    await writeFile(path(), text);
    const other = await DeviceStateKey.of(await InMemoryDeviceIdentity.create());
    await expect(open({ key: other })).rejects.toThrow(notItsOwn);
    await expect(open()).rejects.toThrow(notItsOwn); // a machine without device.conf
    expect(await (await open({ key })).highestVersion('f', 'r')).toBe(7);
  });

  it('calls a record damaged that was cut', async () => {
    await (await open({ key })).accept('f', 'r', 7);
    const text = await readFile(path(), 'utf8');
    for (const cut of [text.slice(0, -1), text.slice(1), text.slice(0, 43), text.slice(0, 44)]) {
      await writeFile(path(), cut);
      await expect(open({ key })).rejects.toThrow('damaged');
    }
  });

  it('takes from a record without a MAC what refuses more, never what accepts more', async () => {
    const other = await generateP256KeyPair();
    const forged = { root: { kid: 'root', key: other.publicJwk }, keyDocument: await keyDocument(9, other) };
    await writeFile(path(), JSON.stringify({ ...forged, keyDocumentVersion: 4, versions: { 'f/r': 7 } }));
    const trust = await open({ key, root: undefined, trustOnFirstUse: true });
    expect(await trust.highestVersion('f', 'r')).toBe(7);
    expect((await trust.keys()).version).toBe(5);
    expect(warnings).toHaveLength(1);
    expect(await readFile(path(), 'utf8')).toMatch(/^[\w-]{43}\n\{/);
  });

  it('goes on with the kept document when the API lets wait', async () => {
    await (await open({ key })).keys();
    const trust = await open({
      key,
      patienceMs: 1,
      documents: { statementKeys: () => new Promise(() => undefined), statementRoot: () => Promise.resolve(root) },
    });
    expect((await trust.keys()).version).toBe(5);
  });
});

describe('parseRootKey', () => {
  it('takes a key with and without kid', async () => {
    expect(await parseRootKey(JSON.stringify({ ...root.key, kid: 'r1', use: 'sig', alg: 'ES256' }))).toEqual({
      kid: 'r1',
      key: root.key,
    });
    expect((await parseRootKey(JSON.stringify(root.key))).kid).toMatch(/^[\w-]{43}$/);
  });

  it('refuses everything else, private keys among it', async () => {
    const { x } = root.key;
    for (const text of [
      '',
      '[]',
      'null',
      '{}',
      JSON.stringify({ ...root.key, y: x }),
      JSON.stringify(rootPair.privateJwk),
    ])
      await expect(parseRootKey(text)).rejects.toThrow(TypeError);
  });
});
