import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';

import { LEGACY_RESOURCE_KEY, legacyAesKey, legacyEncrypt } from '@azaion/crypto';
import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { runCommandLine } from '../program.js';

interface Vectors {
  inputs: { email: string; password: string; fingerprint: string };
  ciphertexts: { plaintextText: string; key?: string; keyFragmentText?: string; hex: string }[];
  splits: { plaintextBytes: number; smallBytes: number; encryptedBytes: number; encryptedSha256?: string }[];
}

const { inputs, ciphertexts, splits } = JSON.parse(
  readFileSync(new URL('../../../../libs/crypto/src/legacy/fixtures/legacy-v1.json', import.meta.url), 'utf8'),
) as Vectors;
const IV = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');

describe('azaion legacy', () => {
  let directory: TempDirectory;
  let stdout: string;
  let stderr: string;
  beforeEach(async () => {
    directory = await tempDirectory('azaion-legacy');
    stdout = '';
    stderr = '';
  });
  afterEach(() => directory.remove());

  const at = (name: string): string => join(directory.path, name);

  function run(args: readonly string[], signal = new AbortController().signal): Promise<number> {
    return runCommandLine(['legacy', ...args], {
      stdout: { write: (text: string) => (stdout += text) },
      stderr: { write: (text: string) => (stderr += text) },
      stdin: new PassThrough().end(),
      env: { AZAION_PROFILE: at('profile.json'), AZAION_PASSWORD: inputs.password },
      version: '1.2.3',
      signal,
    });
  }

  /** The arguments for the key of a vector. */
  async function keyArguments(vector: Vectors['ciphertexts'][number]): Promise<string[]> {
    if (vector.keyFragmentText !== undefined) {
      await writeFile(at('fragment'), vector.keyFragmentText);
      return ['--key-fragment', at('fragment')];
    }
    return vector.key === 'apiKeyWithHardware' ? ['--email', inputs.email, '--fingerprint', inputs.fingerprint] : [];
  }

  it.each(ciphertexts)('opens the vector "$plaintextText" ($key), wherever it was cut', async (vector) => {
    const encrypted = Buffer.from(vector.hex, 'hex');
    for (const cut of [0, 1, 15, 16, 17, encrypted.length - 1, encrypted.length]) {
      await writeFile(at('x.small'), encrypted.subarray(0, cut));
      await writeFile(at('x.big'), encrypted.subarray(cut));
      const key = await keyArguments(vector);
      expect(await run(['open', at('x.small'), at('x.big'), '-o', at('x'), ...key])).toBe(0);
      expect(await readFile(at('x'), 'utf8')).toBe(vector.plaintextText);
    }
    await writeFile(at('whole'), encrypted);
    expect(await run(['open', at('whole'), '-o', at('x'), ...(await keyArguments(vector))])).toBe(0);
    expect(stdout).toContain(hash('sha256', vector.plaintextText));
  });

  it.each(splits)('opens $plaintextBytes bytes that were cut by the older rule', async (vector) => {
    const plaintext = Buffer.from(Array.from({ length: vector.plaintextBytes }, (_, i) => (7 * i + 3) % 256));
    const encrypted = await buffer(
      Readable.from([plaintext]).pipe(legacyEncrypt(legacyAesKey(LEGACY_RESOURCE_KEY), IV)),
    );
    expect(encrypted).toHaveLength(vector.encryptedBytes);
    await writeFile(at('x.small'), encrypted.subarray(0, vector.smallBytes));
    await writeFile(at('x.big'), encrypted.subarray(vector.smallBytes));
    const right = hash('sha256', plaintext);
    expect(await run(['open', at('x.small'), at('x.big'), '-o', at('x'), '--sha256', right, '--json'])).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ ok: true, bytes: plaintext.length, sha256: right, checked: true });
    expect((await readFile(at('x'))).equals(plaintext)).toBe(true);
  });

  it('computes no hash that nobody asked for when it is to be fast, and compares one that was given', async () => {
    const vector = ciphertexts[0]!;
    await writeFile(at('whole'), Buffer.from(vector.hex, 'hex'));
    const args = ['open', at('whole'), '-o', at('x'), '--fast', '--json', ...(await keyArguments(vector))];
    expect(await run(args)).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ sha256: null, checked: false });
    expect(await readFile(at('x'), 'utf8')).toBe(vector.plaintextText);
    stdout = '';
    expect(await run([...args, '--sha256', hash('sha256', vector.plaintextText)])).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ sha256: hash('sha256', vector.plaintextText), checked: true });
    expect(await run([...args, '--sha256', '0'.repeat(64)])).toBe(6);
  });

  it('opens an image archive with its key fragment', async () => {
    const vector = ciphertexts.find(({ keyFragmentText }) => keyFragmentText !== undefined)!;
    await writeFile(at('images.enc'), Buffer.from(vector.hex, 'hex'));
    const key = await keyArguments(vector);
    expect(await run(['open-archive', at('images.enc'), '-o', at('images.tar'), ...key])).toBe(0);
    expect(await readFile(at('images.tar'), 'utf8')).toBe(vector.plaintextText);
  });

  describe('writes nothing and keeps what was there', () => {
    const encrypted = Buffer.from(ciphertexts[0]!.hex, 'hex');
    beforeEach(async () => {
      await writeFile(at('x.small'), encrypted);
      await writeFile(at('x'), 'old');
      await writeFile(at('fragment'), 'another key');
    });
    afterEach(async () => {
      expect(await readFile(at('x'), 'utf8')).toBe('old');
      expect(await readdir(directory.path)).not.toContain('x.partial');
    });

    it.each([
      ['a wrong key', ['--key-fragment', 'fragment'], 6],
      ['another hash', ['--sha256', '0'.repeat(64)], 6],
      ['no hash', ['--sha256', 'abc'], 2],
      ['two keys', ['--key-fragment', 'fragment', '--email', 'a@b.example'], 2],
      ['a fingerprint without an account', ['--fingerprint', 'CPU: x'], 2],
      ['a key fragment that is not there', ['--key-fragment', 'missing'], 2],
    ])('for %s', async (_, args, status) => {
      const paths = args.map((arg) => (arg === 'fragment' || arg === 'missing' ? at(arg) : arg));
      expect(await run(['open', at('x.small'), '-o', at('x'), ...paths])).toBe(status);
      expect(stderr).toContain('Next: ');
    });

    it.each([0, 16, 31])('for the first %i bytes alone', async (sizeBytes) => {
      await writeFile(at('x.small'), encrypted.subarray(0, sizeBytes));
      expect(await run(['open', at('x.small'), '-o', at('x')])).toBe(6);
    });

    it('for a part that is not there', async () => {
      expect(await run(['open', at('x.small'), at('x.big'), '-o', at('x')])).toBe(2);
    });

    it('when it is stopped', async () => {
      expect(await run(['open', at('x.small'), '-o', at('x')], AbortSignal.abort())).toBe(130);
    });
  });

  it.each([[[]], [['open']], [['open', 'x']], [['open-archive', 'x', '-o', 'y']]])('ends %j with 2', async (args) => {
    expect(await run(args)).toBe(2);
  });
});
