import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';

import { AUDIT_START, type AuditHead, auditLinkHash } from '@azaion/crypto';
import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { runCommandLine } from '../program.js';

/** Lines of an export, as the Admin API hands them out. */
function exportedLines(count: number): readonly (AuditHead & { readonly text: string })[] {
  let head: AuditHead = AUDIT_START;
  return Array.from({ length: count }, (_, index) => {
    const sequence = index + 1;
    const event = { id: 10 + index, at: '2026-09-21T14:13:20.123Z', event: 'login.succeeded', actor: 'a' };
    const all = { ...event, address: '', subject: 'x', details: {} };
    head = { sequence, hash: auditLinkHash(head.hash, sequence, all) };
    return { ...head, text: `${JSON.stringify({ ...all, ...head })}\n` };
  });
}

describe('azaion audit verify --file', () => {
  const lines = exportedLines(5);
  const last = lines[4]!;
  const third = ['--sequence', '3', '--hash', lines[2]!.hash];
  let directory: TempDirectory;
  beforeEach(async () => {
    directory = await tempDirectory();
  });
  afterEach(() => directory.remove());

  interface Told {
    readonly status: number;
    readonly intact?: boolean;
    readonly verified?: number;
    readonly head?: AuditHead;
    readonly error?: { readonly code: string; readonly message: string };
  }
  /** Nobody is logged in, and there is no service. */
  async function verify(content: string, ...args: readonly string[]): Promise<Told> {
    const path = join(directory.path, 'audit.jsonl');
    await writeFile(path, content);
    return run('--file', path, ...args);
  }
  async function run(...args: readonly string[]): Promise<Told> {
    let said = '';
    const status = await runCommandLine(['audit', 'verify', ...args, '--json'], {
      stdout: { write: (text: string) => (said += text) },
      stderr: { write: () => undefined },
      stdin: new PassThrough().end(),
      env: { AZAION_PROFILE: join(directory.path, 'profile.json') },
      version: '1.2.3',
      signal: new AbortController().signal,
    });
    return { status, ...(JSON.parse(said) as object) };
  }
  const textOf = (first: number): string =>
    lines
      .slice(first)
      .map(({ text }) => text)
      .join('');

  it('passes a whole export, and names its end', async () => {
    const head = { sequence: 5, hash: last.hash };
    expect(await verify(textOf(0))).toMatchObject({ status: 0, intact: true, verified: 5, head });
    expect(await verify(textOf(0), ...third)).toMatchObject({ status: 0, verified: 5, head });
    expect(await verify(textOf(3), ...third)).toMatchObject({ status: 0, verified: 2, head });
  });

  it.each([
    ['changed', () => [textOf(0).replace('"subject":"x"', '"subject":"y"')], 'line 1: hash-mismatch'],
    [
      'cut off, to who kept a head',
      () => [textOf(0).replace(last.text, ''), '--sequence', '5', '--hash', last.hash],
      'head-mismatch',
    ],
    ['cut off within a line', () => [textOf(0).slice(0, -5)], 'line 5: line-unreadable'],
    ['without its beginning, of which no head is known', () => [textOf(3)], 'begins neither'],
  ])('ends with status 6 when it was %s', async (_, made, message) => {
    const [content = '', ...args] = made();
    const { status, error } = await verify(content, ...args);
    expect([status, error?.code]).toEqual([6, 'audit.broken']);
    expect(error?.message).toContain(message);
  });

  it('takes no file that is not there or is empty, no half a head, and no service beside it', async () => {
    expect((await run('--file', join(directory.path, 'nothing'))).status).toBe(2);
    expect((await verify('')).status).toBe(2);
    expect((await verify(textOf(0), '--sequence', '3')).status).toBe(2);
    expect((await verify(textOf(0), '--api', 'http://127.0.0.1:9')).status).toBe(2);
    expect((await verify(textOf(0), '--newer')).status).toBe(2);
  });
});
