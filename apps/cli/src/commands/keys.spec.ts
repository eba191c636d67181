import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';

import { generateP256KeyPair, importVerificationKey, type PublicJwk, StatementKeys } from '@azaion/crypto';

import { runCommandLine } from '../program.js';

const PASSPHRASE = 'several words in a row';
let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keys-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

interface Told {
  readonly status: number;
  readonly ok: boolean;
  readonly error?: { readonly code: string; readonly message: string };
  readonly [fact: string]: unknown;
}

async function azaion(...args: string[]): Promise<Told> {
  let text = '';
  const sink = { write: (part: string) => (text += part) };
  const status = await runCommandLine([...args, '--json'], {
    stdout: sink,
    stderr: { write: () => true },
    stdin: new PassThrough().end(),
    env: { AZAION_PROFILE: join(directory, 'profile.json'), AZAION_PASSPHRASE: PASSPHRASE },
    version: '1.2.3',
    signal: new AbortController().signal,
  });
  return { ...(JSON.parse(text) as Told), status };
}

const at = (name: string): string => join(directory, name);

async function statementKey(name: string): Promise<string> {
  const { publicJwk } = await generateP256KeyPair();
  await writeFile(at(`${name}.json`), JSON.stringify({ kid: name, alg: 'ES256', key: publicJwk }));
  return at(`${name}.json`);
}

async function trusted(document: string, nowSeconds = Date.now() / 1000): Promise<StatementKeys> {
  const { kid, ...key } = JSON.parse(await readFile(at('root.jwk.pub.json'), 'utf8')) as PublicJwk & { kid: string };
  const root = await importVerificationKey(kid, key);
  return StatementKeys.verify((await readFile(at(document), 'utf8')).trim(), root, 0, nowSeconds);
}

describe('azaion keys, on the machine of the offline root', () => {
  it('makes a root under a passphrase and signs with it what readers accept', async () => {
    expect(await azaion('keys', 'root', 'create', '-o', at('root.jwk'), '--kid', 'root-1')).toMatchObject({
      status: 0,
      kid: 'root-1',
      protected: true,
    });
    expect((await stat(at('root.jwk'))).mode & 0o777).toBe(0o600);
    expect(await readFile(at('root.jwk'), 'utf8')).not.toContain('"d"');
    expect(await readFile(at('root.jwk.pub.json'), 'utf8')).not.toContain('"d"');
    const signed = await azaion(
      'keys',
      'sign',
      '--root',
      at('root.jwk'),
      '--add',
      await statementKey('a'),
      '-o',
      at('1.jws'),
    );
    expect(signed).toMatchObject({ status: 0, version: 1, keys: ['a'] });
    expect((await trusted('1.jws')).has('a')).toBe(true);

    await writeFile(at('wrong'), 'another passphrase\n');
    const refused = await azaion(
      'keys',
      'sign',
      '--root',
      at('root.jwk'),
      '--passphrase-file',
      at('wrong'),
      '--add',
      at('a.json'),
      '-o',
      at('x.jws'),
    );
    expect([refused.status, refused.error?.code]).toEqual([3, 'keys.wrong-passphrase']);
  });

  it('adds keys to the document in force and leaves stolen ones out, each time with a higher version', async () => {
    await azaion('keys', 'root', 'create', '--no-passphrase', '-o', at('root.jwk'));
    const sign = (...args: string[]): Promise<Told> => azaion('keys', 'sign', '--root', at('root.jwk'), ...args);
    await sign('--add', await statementKey('a'), '--add', await statementKey('b'), '-o', at('1.jws'));
    const second = await sign(
      '--document',
      at('1.jws'),
      '--add',
      await statementKey('c'),
      '--remove',
      'a',
      '-o',
      at('2.jws'),
    );
    expect(second).toMatchObject({ status: 0, version: 2, keys: ['b', 'c'], removed: ['a'] });
    const keys = await trusted('2.jws');
    expect(['a', 'b', 'c'].map((kid) => keys.has(kid))).toEqual([false, true, true]);
    expect(await azaion('keys', 'show', at('2.jws'), '--root', at('root.jwk.pub.json'))).toMatchObject({
      version: 2,
      keys: ['b', 'c'],
    });

    expect(await sign('--add', at('b.json'), '--version', '9', '--days', '1', '-o', at('9.jws'))).toMatchObject({
      version: 9,
    });
    await expect(trusted('9.jws', Date.now() / 1000 + 90_000)).rejects.toMatchObject({ code: 'key-document.expired' });
    // An expired document is still the one to go on from.
    expect(await sign('--document', at('9.jws'), '-o', at('10.jws'))).toMatchObject({ version: 10, keys: ['b'] });
  });

  it.each([
    ['no key at all', []],
    ['a key that is not in the document', ['--remove', 'x']],
    ['a file that is no key', ['--add', 'root.jwk']],
    ['a private file that is missing', ['--add', 'nothing']],
    ['a version that is not higher', ['--document', '1.jws', '--version', '1']],
    ['a version that is no number', ['--add', 'a.json', '--version', '1e3']],
    ['no days', ['--add', 'a.json', '--days', '0']],
    ['too many days', ['--add', 'a.json', '--days', '3651']],
    ['an output that is there', ['--add', 'a.json', '-o', '1.jws']],
  ])('signs nothing for %s', async (_case, args) => {
    await azaion('keys', 'root', 'create', '--no-passphrase', '-o', at('root.jwk'));
    await azaion('keys', 'sign', '--root', at('root.jwk'), '--add', await statementKey('a'), '-o', at('1.jws'));
    const before = await readFile(at('1.jws'), 'utf8');
    const placed = args.map((arg) => (/\.|^nothing$|^root/.test(arg) ? at(arg) : arg));
    const output = args.includes('-o') ? [] : ['-o', at('2.jws')];
    const told = await azaion('keys', 'sign', '--root', at('root.jwk'), ...placed, ...output);
    expect(told.status).toBe(2);
    expect(await readFile(at('1.jws'), 'utf8')).toBe(before);
    await expect(stat(at('2.jws'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('never writes over a root, and takes none that others may read', async () => {
    await azaion('keys', 'root', 'create', '--no-passphrase', '-o', at('root.jwk'));
    const before = await readFile(at('root.jwk'), 'utf8');
    expect((await azaion('keys', 'root', 'create', '--no-passphrase', '-o', at('root.jwk'))).status).toBe(2);
    expect(await readFile(at('root.jwk'), 'utf8')).toBe(before);
    await chmod(at('root.jwk'), 0o644);
    const told = await azaion(
      'keys',
      'sign',
      '--root',
      at('root.jwk'),
      '--add',
      await statementKey('a'),
      '-o',
      at('1.jws'),
    );
    expect([told.status, told.error?.code]).toEqual([3, 'keys.exposed']);
  });

  it('refuses a document of another root and a weak passphrase', async () => {
    await azaion('keys', 'root', 'create', '--no-passphrase', '-o', at('root.jwk'));
    await azaion('keys', 'root', 'create', '--no-passphrase', '-o', at('other.jwk'));
    await azaion('keys', 'sign', '--root', at('other.jwk'), '--add', await statementKey('a'), '-o', at('1.jws'));
    const told = await azaion('keys', 'sign', '--root', at('root.jwk'), '--document', at('1.jws'), '-o', at('2.jws'));
    expect([told.status, told.error?.code]).toEqual([6, 'key-document.invalid']);
    await writeFile(at('short'), 'eleven char');
    expect(
      (await azaion('keys', 'root', 'create', '-o', at('weak.jwk'), '--passphrase-file', at('short'))).status,
    ).toBe(2);
    await expect(stat(at('weak.jwk'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
