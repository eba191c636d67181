import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { replaceDurably } from './index.js';

/** Run in processes of their own, outside of the test runner's module loader: as the build made them. */
const fileStore = new URL('../../dist/file-store/index.js', import.meta.url).href;
const trustStore = new URL('../../dist/trust-store/trust-state.js', import.meta.url).href;

/** Runs a script that may write not one byte to any file, as on a full disk. @returns The code of the error it ends with. */
async function onFullDisk(script: string, ...args: string[]): Promise<string> {
  const wrapped = `try { ${script} } catch (error) { process.stdout.write(error.code); }`;
  const node = [process.execPath, '--input-type=module', '-e', wrapped, '--', ...args];
  const { stdout } = await promisify(execFile)('sh', ['-c', 'ulimit -f 0; exec "$@"', 'sh', ...node]);
  return stdout;
}

describe('replaceDurably', () => {
  let directory: string;
  beforeEach(async () => (directory = await mkdtemp(join(tmpdir(), 'replace-'))));
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('makes the file and its directories, for the owner alone, and leaves nothing beside it', async () => {
    const path = join(directory, 'a', 'b', 'file');
    await replaceDurably(path, 'one');
    await replaceDurably(path, Buffer.from('two'));
    expect(await readFile(path, 'utf8')).toBe('two');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(directory, 'a'))).mode & 0o777).toBe(0o700);
    expect(await readdir(join(directory, 'a', 'b'))).toEqual(['file']);
  });

  it('is whole when many replace it at once', async () => {
    const path = join(directory, 'file');
    const texts = Array.from({ length: 20 }, (_, index) => String(index).repeat(10_000));
    await Promise.all(texts.map((text) => replaceDurably(path, text)));
    expect(texts).toContain(await readFile(path, 'utf8'));
    expect(await readdir(directory)).toEqual(['file']);
  });

  it('says resource.no-space on a full disk and leaves the old file, and nothing beside it', async () => {
    const path = join(directory, 'file');
    await replaceDurably(path, 'old');
    const script = `const { replaceDurably } = await import(process.argv[1]); await replaceDurably(process.argv[2], 'new');`;
    expect(await onFullDisk(script, fileStore, path)).toBe('resource.no-space');
    expect(await readFile(path, 'utf8')).toBe('old');
    expect(await readdir(directory)).toEqual(['file']);
  });

  it('is how the marks against older versions are kept: a full disk has its code, and the marks stay', async () => {
    const path = join(directory, 'statement-trust.json');
    await replaceDurably(path, JSON.stringify({ keyDocumentVersion: 3, versions: {} }));
    const script = `const { TrustStateFile } = await import(process.argv[1]);
      await new TrustStateFile(process.argv[2]).update((state) => ({ ...state, keyDocumentVersion: 4 }));`;
    expect(await onFullDisk(script, trustStore, path)).toBe('resource.no-space');
    expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ keyDocumentVersion: 3 });
    expect(await readdir(directory)).toEqual(['statement-trust.json']);
  });
});
