import { utf8 } from '@azaion/kernel';
import fc from 'fast-check';

import { type AuditExportVerdict, verifyAuditExport } from './audit-export.js';
import { AUDIT_START, type AuditedEvent, type AuditHead, auditLinkHash } from './audit-link.js';

type Line = AuditedEvent & AuditHead;

/** A log of some events, each linked to the one before. */
function chain(count: number): readonly Line[] {
  let head: AuditHead = AUDIT_START;
  return Array.from({ length: count }, (_, index) => {
    const event = {
      id: 2 * index + 7,
      at: '2026-09-21T14:13:20.123Z',
      event: 'grant.issued',
      actor: 'somebody',
      address: '192.0.2.1',
      subject: 'models/ä"\\\n',
      details: { b: index, a: 'x', ok: true },
    };
    const sequence = index + 1;
    head = { sequence, hash: auditLinkHash(head.hash, sequence, event) };
    return { ...event, ...head };
  });
}

const CHAIN = chain(7);
const textOf = (lines: readonly unknown[]): string => lines.map((line) => `${JSON.stringify(line)}\n`).join('');

/** @param pieceBytes - How the bytes come. */
function check(text: string | Uint8Array, known?: AuditHead, pieceBytes = 1000): Promise<AuditExportVerdict> {
  const bytes = typeof text === 'string' ? utf8(text) : text;
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (let start = 0; start < bytes.length; start += pieceBytes)
      yield await Promise.resolve(bytes.subarray(start, start + pieceBytes));
  }
  return verifyAuditExport(pieces(), known);
}

const headOf = ({ sequence, hash }: Line): AuditHead => ({ sequence, hash });
const [third, last] = [headOf(CHAIN[2]!), headOf(CHAIN[6]!)];
const whole = { verified: 7, from: AUDIT_START, head: last };

describe('an export of the audit log', () => {
  it.each([1, 2, 63, 1_000_000])(
    'is whole when every line follows from the one before, in pieces of %i bytes',
    async (size) => {
      expect(await check(textOf(CHAIN), undefined, size)).toEqual(whole);
      expect(await check(textOf(CHAIN).trimEnd(), undefined, size)).toEqual(whole);
    },
  );

  it('may begin right behind a head that was kept elsewhere, and nowhere else', async () => {
    expect(await check(textOf(CHAIN.slice(3)), third)).toEqual({ verified: 4, from: third, head: last });
    for (const [first, known] of [
      [3, undefined],
      [2, third],
      [4, third],
    ] as const)
      expect((await check(textOf(CHAIN.slice(first)), known)).fault).toEqual({ kind: 'sequence-gap', line: 1 });
    const other = { sequence: 3, hash: 'ab'.repeat(32) };
    expect((await check(textOf(CHAIN.slice(3)), other)).fault).toEqual({ kind: 'hash-mismatch', line: 1 });
  });

  it('holds a head that was kept elsewhere, or was cut off or written anew', async () => {
    expect(await check(textOf(CHAIN), third)).toEqual(whole);
    expect(await check(textOf(CHAIN), last)).toEqual(whole);
    expect((await check(textOf(CHAIN.slice(0, -1)), last)).fault).toEqual({ kind: 'head-mismatch', line: 7 });
    expect((await check(textOf(CHAIN), { ...third, hash: last.hash })).fault).toEqual({
      kind: 'head-mismatch',
      line: 3,
    });
    expect((await check('', third)).fault).toEqual({ kind: 'head-mismatch', line: 1 });
  });

  it('holds nothing when it is empty', async () => {
    expect(await check('')).toEqual({ verified: 0, from: AUDIT_START, head: AUDIT_START });
  });

  it.each(['id', 'at', 'event', 'actor', 'address', 'subject', 'details', 'hash'])(
    'shows a changed %s',
    async (name) => {
      const others: Readonly<Record<string, unknown>> = { id: 5, details: { b: 4 }, hash: 'ab'.repeat(32) };
      const changed = CHAIN.map((line, index) => (index === 3 ? { ...line, [name]: others[name] ?? 'another' } : line));
      expect(await check(textOf(changed))).toEqual({
        verified: 3,
        from: AUDIT_START,
        head: third,
        fault: { kind: 'hash-mismatch', line: 4 },
      });
    },
  );

  it.each([
    ['a line that is gone', CHAIN.toSpliced(3, 1)],
    ['a line twice', CHAIN.toSpliced(3, 0, CHAIN[2]!)],
    ['lines that changed places', CHAIN.with(3, CHAIN[4]!).with(4, CHAIN[3]!)],
  ])('shows %s', async (_, lines) => {
    expect((await check(textOf(lines))).fault).toEqual({ kind: 'sequence-gap', line: 4 });
  });

  it.each<[string, unknown]>([
    ['no object', 5],
    ['a list', []],
    ['nothing', null],
    ['a member that the chain does not vouch for', { ...CHAIN[0], note: 'x' }],
    ['a member less', { ...CHAIN[0], details: undefined }],
    ['a number as a text', { ...CHAIN[0], sequence: '1' }],
    ['a number past those that are exact', { ...CHAIN[0], id: 2 ** 53 }],
    ['a text as a number', { ...CHAIN[0], at: 5 }],
    ['details that are a list', { ...CHAIN[0], details: [] }],
    ['details within details', { ...CHAIN[0], details: { a: {} } }],
  ])('cannot be read where a line holds %s', async (_, line) => {
    expect((await check(textOf([line]))).fault).toEqual({ kind: 'line-unreadable', line: 1 });
  });

  it('cannot be read where a line breaks off, is no UTF-8, or is longer than a line may be', async () => {
    const unreadable = { kind: 'line-unreadable', line: 8 };
    expect((await check(textOf(CHAIN) + JSON.stringify(CHAIN[0]).slice(0, -1))).fault).toEqual(unreadable);
    expect((await check(`${textOf(CHAIN)}\n`)).fault).toEqual(unreadable);
    expect((await check(Buffer.concat([utf8(textOf(CHAIN)), Buffer.from([0x22, 0xff, 0x22])]))).fault).toEqual(
      unreadable,
    );
    const endless = `${textOf(CHAIN)}"${'x'.repeat(2 * 1024 * 1024)}"\n`;
    expect((await check(endless, undefined, 100_000)).fault).toEqual(unreadable);
    expect((await check(endless, undefined, 10_000_000)).fault).toEqual(unreadable);
  });

  it('never passes with a byte of a value changed', async () => {
    const text = utf8(textOf(CHAIN));
    await fc.assert(
      fc.asyncProperty(fc.nat(text.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const { fault } = await check(text.with(at, text[at]! ^ change), last);
        // What JSON takes for the same text is the same event: a blank more, a member in another case of its escapes.
        return fault !== undefined || sameEvents(text.with(at, text[at]! ^ change));
      }),
    );
  });
});

function sameEvents(bytes: Uint8Array): boolean {
  const lines = new TextDecoder().decode(bytes).trimEnd().split('\n');
  return JSON.stringify(lines.map((line) => JSON.parse(line) as unknown)) === JSON.stringify(CHAIN);
}
