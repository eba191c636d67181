import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { CryptoError } from '@azaion/crypto';
import { describeKeyVault } from '@azaion/crypto/testing';

import { addKeyEncryptionKey, FileKeyVault } from './file-key-vault.js';

let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'key-file-'));
  path = join(directory, 'keys', 'kek');
});

afterEach(async () => rm(directory, { recursive: true, force: true }));

describeKeyVault('FileKeyVault', async () =>
  FileKeyVault.open(join(directory, randomBytes(8).toString('hex')), { createIfMissing: true }),
);

async function refusal(opening: Promise<unknown>): Promise<CryptoError> {
  const error: unknown = await opening.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  expect(error).toBeInstanceOf(CryptoError);
  expect((error as CryptoError).code).toBe('keys.kek-invalid');
  expect((error as CryptoError).message).not.toContain(directory);
  return error as CryptoError;
}

async function writeKeys(content: string, mode = 0o600): Promise<void> {
  await mkdir(join(directory, 'keys'), { recursive: true });
  await writeFile(path, content);
  await chmod(path, mode);
}

function key(): string {
  return randomBytes(32).toString('base64url');
}

describe('FileKeyVault.open of a missing file', () => {
  it('refuses unless it was told to make one', async () => {
    const error = await refusal(FileKeyVault.open(path, { createIfMissing: false }));
    expect(error.message).toContain('missing');
    expect((error.cause as Error).message).toBe(path);
  });

  it('makes a file of mode 0600 with one key, and leaves nothing else', async () => {
    const vault = await FileKeyVault.open(path, { createIfMissing: true });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readFile(path, 'utf8')).toMatch(/^[A-Za-z0-9_-]{43}\n$/);
    expect(await readdir(join(directory, 'keys'))).toEqual(['kek']);

    const wrapped = await vault.wrap('folder', 'row', Buffer.from('secret'));
    const again = await FileKeyVault.open(path, { createIfMissing: true });
    expect(Buffer.from(await again.unwrap('folder', 'row', wrapped)).toString()).toBe('secret');
  });

  it('gives all replicas that start at once the same key', async () => {
    const vaults = await Promise.all(
      Array.from({ length: 8 }, async () => FileKeyVault.open(path, { createIfMissing: true })),
    );
    const keys = await Promise.all(vaults.map(async (vault) => vault.macKey('url-signing')));
    expect(new Set(keys.map((mac) => Buffer.from(mac).toString('hex'))).size).toBe(1);
  });
});

describe('FileKeyVault.open of an existing file', () => {
  it('wraps with the first key and opens what the others wrapped', async () => {
    const [old, current] = [key(), key()];
    await writeKeys(`${old}\n`);
    const wrapped = await (
      await FileKeyVault.open(path, { createIfMissing: false })
    ).wrap('recipe', 'row', Buffer.from('secret'));

    await writeKeys(`${current}\n${old}\n`);
    const rotating = await FileKeyVault.open(path, { createIfMissing: false });
    const secret = await rotating.unwrap('recipe', 'row', wrapped);
    const rewrapped = await rotating.wrap('recipe', 'row', secret);

    await writeKeys(current);
    const rotated = await FileKeyVault.open(path, { createIfMissing: false });
    expect(Buffer.from(await rotated.unwrap('recipe', 'row', rewrapped)).toString()).toBe('secret');
    await expect(rotated.unwrap('recipe', 'row', wrapped)).rejects.toMatchObject({ code: 'keys.wrapped-invalid' });
  });

  it.each(['601', '602', '604', '610', '620', '640', '644'])('refuses mode 0%s', async (mode) => {
    await writeKeys(`${key()}\n`, Number.parseInt(mode, 8));
    expect((await refusal(FileKeyVault.open(path, { createIfMissing: true }))).message).toContain('0600');
  });

  it.each([
    ['nothing', ''],
    ['an empty line', '\n'],
    ['a short key', `${randomBytes(31).toString('base64url')}\n`],
    ['a long key', `${randomBytes(33).toString('base64url')}\n`],
    ['padding', `${randomBytes(32).toString('base64')}\n`],
    ['hexadecimal', `${randomBytes(32).toString('hex')}\n`],
    ['loose trailing bits', `${'A'.repeat(42)}B\n`],
    ['Windows line ends', `${key()}\r\n`],
    ['a blank line between keys', `${key()}\n\n${key()}\n`],
    ['a key twice', `${'A'.repeat(43)}\n${'A'.repeat(43)}\n`],
    ['17 keys', Array.from({ length: 17 }, key).join('\n')],
    ['a long file', 'A'.repeat(10_000)],
  ])('refuses %s, and never writes over it', async (_case, content) => {
    await writeKeys(content);
    await refusal(FileKeyVault.open(path, { createIfMissing: true }));
    expect(await readFile(path, 'utf8')).toBe(content);
  });

  it('notices a key that was added while it is open, as soon as a row names it', async () => {
    await writeKeys(key());
    const [running, other] = [
      await FileKeyVault.open(path, { createIfMissing: false }),
      await FileKeyVault.open(path, { createIfMissing: false }),
    ];
    const before = await running.wrap('recipe', 'row', Buffer.from('before'));
    await addKeyEncryptionKey(path);
    const [current, earlier] = await running.prefixes();
    expect(
      Buffer.from(before)
        .subarray(0, 9)
        .equals(earlier ?? new Uint8Array()),
    ).toBe(true);
    const after = await running.wrap('recipe', 'row', Buffer.from('after'));
    expect(
      Buffer.from(after)
        .subarray(0, 9)
        .equals(current ?? new Uint8Array()),
    ).toBe(true);
    expect(Buffer.from(await other.unwrap('recipe', 'row', after)).toString()).toBe('after');
    expect(Buffer.from(await other.unwrap('recipe', 'row', before)).toString()).toBe('before');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it('goes on with the keys at hand when the file becomes unusable', async () => {
    await writeKeys(key());
    const vault = await FileKeyVault.open(path, { createIfMissing: false });
    const wrapped = await vault.wrap('recipe', 'row', Buffer.from('secret'));
    await writeKeys('half a li');
    expect(await vault.prefixes()).toHaveLength(1);
    await rm(path);
    expect(await vault.prefixes()).toHaveLength(1);
    expect(Buffer.from(await vault.unwrap('recipe', 'row', wrapped)).toString()).toBe('secret');
  });

  it('takes no 17th key', async () => {
    await writeKeys(Array.from({ length: 16 }, key).join('\n'));
    expect((await refusal(addKeyEncryptionKey(path))).message).toContain('16 keys');
  });

  it('asks for nothing but reading', async () => {
    await writeKeys(key(), 0o400);
    await chmod(join(directory, 'keys'), 0o500);
    await expect(FileKeyVault.open(path, { createIfMissing: true })).resolves.toBeDefined();
    await chmod(join(directory, 'keys'), 0o700);
  });

  it('refuses a directory', async () => {
    await mkdir(path, { recursive: true, mode: 0o700 });
    await refusal(FileKeyVault.open(path, { createIfMissing: false }));
  });

  it('refuses a file that lies in the data directory, also behind a link', async () => {
    const data = join(directory, 'data');
    await mkdir(data);
    await writeFile(join(data, 'kek'), key(), { mode: 0o600 });
    await symlink(join(data, 'kek'), join(directory, 'link'));
    for (const inside of [join(data, 'kek'), join(directory, 'link')])
      await refusal(FileKeyVault.open(inside, { createIfMissing: false, apartFrom: data }));
    await writeKeys(key());
    await expect(FileKeyVault.open(path, { createIfMissing: false, apartFrom: data })).resolves.toBeDefined();
  });
});
