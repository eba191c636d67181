import { randomBytes } from 'node:crypto';

import { equalBytes, toHex } from '@azaion/kernel';

import {
  type ComponentLock,
  type GuessCost,
  lockToComponents,
  openWithComponents,
  parseComponentLock,
  whyNotLockable,
} from './component-lock.js';
import type { HardwareComponent } from './stable-components.js';

/** Cheap: what is tested does not depend on it. */
const COST: GuessCost = { memoryKib: 64, passes: 1 };
const COMPONENTS: readonly HardwareComponent[] = [
  { kind: 'board', value: '1421021062358' },
  { kind: 'processor', value: 'ARMv8; fp asimd' },
  { kind: 'network-port', value: '00:00:5e:00:53:01' },
  { kind: 'memory', value: '8 GiB' },
];

describe('a secret locked to the parts of a machine', () => {
  let secret: Uint8Array;
  let lock: ComponentLock;
  beforeAll(async () => {
    secret = new Uint8Array(randomBytes(32));
    lock = await lockToComponents(secret, COMPONENTS, COST);
  });

  const opened = async (
    components: readonly HardwareComponent[],
  ): Promise<{ readonly changed: readonly string[] } | undefined> =>
    openWithComponents(lock, components, (candidate) => (equalBytes(candidate, secret) ? true : undefined));
  const replaced = (...kinds: readonly string[]): readonly HardwareComponent[] =>
    COMPONENTS.map(({ kind, value }) => ({ kind, value: kinds.includes(kind) ? `another ${value}` : value }));

  it('opens with all of them', async () => {
    expect(await opened(COMPONENTS)).toMatchObject({ changed: [] });
  });

  it.each(COMPONENTS.map(({ kind }) => kind))('opens when %s was replaced or is missing, and says so', async (kind) => {
    expect(await opened(replaced(kind))).toMatchObject({ changed: [kind] });
    expect(await opened(COMPONENTS.filter((one) => one.kind !== kind))).toMatchObject({ changed: [kind] });
  });

  it('does not open when any two were replaced', async () => {
    const kinds = COMPONENTS.map(({ kind }) => kind);
    for (const one of kinds)
      for (const other of kinds) if (one < other) expect(await opened(replaced(one, other))).toBeUndefined();
    expect(await opened([])).toBeUndefined();
  });

  it('needs all but one of three too, and locks to no fewer', async () => {
    const three = COMPONENTS.slice(0, 3);
    const small = await lockToComponents(secret, three, COST);
    const open = (components: readonly HardwareComponent[]): Promise<object | undefined> =>
      openWithComponents(small, components, (candidate) => (equalBytes(candidate, secret) ? true : undefined));
    expect(await open(three.slice(0, 2))).toMatchObject({ changed: ['network-port'] });
    expect(await open(three.slice(0, 1))).toBeUndefined();
    await expect(lockToComponents(secret, three.slice(0, 2), COST)).rejects.toThrow(RangeError);
  });

  it.each([['board'], ['network-port'], ['board', 'network-port']])(
    'is made of no parts without %s %s: all but one of the rest would be those of every machine of the model',
    async (...kinds) => {
      const rest = COMPONENTS.filter(({ kind }) => !kinds.includes(kind));
      expect(whyNotLockable(rest)).toBeDefined();
      await expect(lockToComponents(secret, rest, COST)).rejects.toThrow(RangeError);
    },
  );

  it('is made of three parts at least, and says which are missing', () => {
    const named = (...kinds: readonly string[]): readonly HardwareComponent[] =>
      COMPONENTS.filter(({ kind }) => kinds.includes(kind));
    expect(whyNotLockable(COMPONENTS)).toBeUndefined();
    expect(whyNotLockable(named('board', 'network-port', 'memory'))).toBeUndefined();
    expect(whyNotLockable([])).toMatch(/only 0 .*none.* 3 /);
    expect(whyNotLockable(named('board', 'memory'))).toMatch(/only 2 .*board, memory.* 3 /);
    expect(whyNotLockable(named('board', 'processor', 'memory'))).toMatch(/not name its network-port,/);
    expect(whyNotLockable([...named('processor', 'memory'), ...named('memory')])).toContain('board and network-port');
  });

  it('is another lock each time, over the same parts and the same secret', async () => {
    const again = await lockToComponents(secret, COMPONENTS, COST);
    for (const [at, share] of again.shares.entries()) {
      expect(share.salt).not.toBe(lock.shares[at]!.salt);
      expect(share.hidden).not.toBe(lock.shares[at]!.hidden);
    }
  });

  describe('to who has the file and guesses', () => {
    it('shows of each part a salt and 32 hidden bytes, and no tag or hash', () => {
      for (const share of lock.shares) expect(Object.keys(share).sort()).toEqual(['hidden', 'kind', 'salt', 'x']);
    });

    // Below the threshold, shares of a random secret are random: a right one and a wrong one lead to candidates that nothing tells apart.
    it.each(COMPONENTS.map(({ kind }) => kind))(
      'does not tell a right guess of %s from a wrong one',
      async (guessed) => {
        const candidatesFor = async (guess: string | undefined): Promise<readonly string[]> => {
          const candidates: string[] = [];
          const guesses = COMPONENTS.map(({ kind, value }) => ({
            kind,
            value: kind === guessed ? (guess ?? value) : 'not known',
          }));
          await openWithComponents(lock, guesses, (candidate) => {
            candidates.push(toHex(candidate));
            return undefined;
          });
          return candidates;
        };
        const right = await candidatesFor(undefined);
        const wrong = [...(await candidatesFor('a')), ...(await candidatesFor('b'))];
        expect(right).toHaveLength(COMPONENTS.length);
        expect(wrong).toHaveLength(2 * COMPONENTS.length);
        expect([...right, ...wrong].every((candidate) => candidate.length === 64)).toBe(true);
        expect(right).not.toContain(toHex(secret));
      },
    );

    it('opens by guessing only as a whole: the right value of one part is of no use beside wrong ones', async () => {
      const processors = Array.from({ length: 20 }, (_, at) => `processor ${String(at)}`);
      for (const value of [...processors, COMPONENTS[1]!.value]) {
        const guesses = COMPONENTS.map((one) => ({ ...one, value: one.kind === 'processor' ? value : 'unknown' }));
        expect(await opened(guesses)).toBeUndefined();
      }
    });
  });

  describe('in its file', () => {
    it('survives JSON', () => {
      expect(parseComponentLock(JSON.parse(JSON.stringify(lock)))).toEqual(lock);
    });

    it('may cost as little and as much as a device pays', () => {
      for (const cost of [
        { memoryKib: 8, passes: 1 },
        { memoryKib: 1024 * 1024, passes: 16 },
      ])
        expect(parseComponentLock({ ...lock, cost })).toEqual({ ...lock, cost });
    });

    it('is refused with costs that no device pays, with shares twice, and in every other form', () => {
      const share = lock.shares[0]!;
      const refused: unknown[] = [
        null,
        'lock',
        {},
        { ...lock, cost: { memoryKib: 2 ** 30, passes: 1 } },
        { ...lock, cost: { memoryKib: 64, passes: 17 } },
        { ...lock, cost: { memoryKib: 0.5, passes: 1 } },
        { ...lock, shares: lock.shares.slice(0, 2) },
        { ...lock, shares: [...lock.shares, share] },
        { ...lock, shares: [share, share, share] },
        { ...lock, shares: lock.shares.map((one) => ({ ...one, x: 1 })) },
        { ...lock, cost: null },
        { ...lock, cost: { memoryKib: 7, passes: 1 } },
        { ...lock, cost: { memoryKib: 64, passes: 0 } },
        { ...lock, shares: null },
        { ...lock, shares: [null, ...lock.shares.slice(1)] },
        ...[
          { kind: 'drive' },
          { x: 0 },
          { x: 256 },
          { salt: 'AAAA' },
          { salt: '!' },
          { salt: 7 },
          { hidden: 'AAAA' },
          { hidden: '!' },
          { hidden: 7 },
        ].map((change) => ({
          ...lock,
          shares: [{ ...share, ...change }, ...lock.shares.slice(1)],
        })),
      ];
      for (const value of refused) expect(parseComponentLock(value)).toBeUndefined();
    });
  });
});
