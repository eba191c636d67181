import { isRunning, UNLOCK_STATES, type UnlockState, UnlockStateMachine } from './unlock-state.js';

/** Written out from the loader HTTP contract, "States of an unlock", apart from the table in the code. */
const ALLOWED = new Set([
  'idle → authenticating',
  'authenticating → downloading_key',
  'downloading_key → decrypting',
  'decrypting → loading_images',
  'loading_images → ready',
  'ready → authenticating',
  'error → authenticating',
  'idle → ready',
  'error → ready',
  'ready → ready',
  ...UNLOCK_STATES.map((state) => `${state} → error`),
]);
const PAIRS: [UnlockState, UnlockState][] = UNLOCK_STATES.flatMap((from) =>
  UNLOCK_STATES.map((to): [UnlockState, UnlockState] => [from, to]),
);

describe('UnlockStateMachine', () => {
  it('starts idle', () => {
    expect(new UnlockStateMachine().current).toBe('idle');
  });

  it.each(PAIRS.filter(([from, to]) => ALLOWED.has(`${from} → ${to}`)))('goes from %s to %s', (from, to) => {
    const machine = new UnlockStateMachine(from);
    machine.moveTo(to);
    expect(machine.current).toBe(to);
  });

  it.each(PAIRS.filter(([from, to]) => !ALLOWED.has(`${from} → ${to}`)))('never goes from %s to %s', (from, to) => {
    const machine = new UnlockStateMachine(from);
    expect(() => machine.moveTo(to)).toThrow(RangeError);
    expect(machine.current).toBe(from);
  });

  it('is at work in exactly the states between the start and the end', () => {
    expect(UNLOCK_STATES.filter(isRunning)).toEqual([
      'authenticating',
      'downloading_key',
      'decrypting',
      'loading_images',
    ]);
  });
});
