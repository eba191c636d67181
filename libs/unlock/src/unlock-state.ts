/** States of an unlock (F5), no others. Waiting shows in the progress, not as a state. Source: loader HTTP contract, "States of an unlock". */
export const UNLOCK_STATES = [
  'idle',
  'authenticating',
  'downloading_key',
  'decrypting',
  'loading_images',
  'ready',
  'error',
] as const;

/** One of {@link UNLOCK_STATES}. */
export type UnlockState = (typeof UNLOCK_STATES)[number];

/** Every transition there is. `ready` is entered directly when the images are there; `error` from any state. */
export const UNLOCK_TRANSITIONS: Readonly<Record<UnlockState, readonly UnlockState[]>> = {
  idle: ['authenticating', 'ready', 'error'],
  authenticating: ['downloading_key', 'error'],
  downloading_key: ['decrypting', 'error'],
  decrypting: ['loading_images', 'error'],
  loading_images: ['ready', 'error'],
  ready: ['authenticating', 'ready', 'error'],
  error: ['authenticating', 'ready', 'error'],
};

/** Whether an unlock in this state is at work. */
export function isRunning(state: UnlockState): boolean {
  return state !== 'idle' && state !== 'ready' && state !== 'error';
}

/** The state of the one unlock of a device. It moves only along {@link UNLOCK_TRANSITIONS}. */
export class UnlockStateMachine {
  private state: UnlockState;

  constructor(initial: UnlockState = 'idle') {
    this.state = initial;
  }

  get current(): UnlockState {
    return this.state;
  }

  /** @throws RangeError when the table has no such transition: a mistake in this program, never a caller's. */
  moveTo(next: UnlockState): void {
    if (!UNLOCK_TRANSITIONS[this.state].includes(next))
      throw new RangeError(`an unlock does not go from ${this.state} to ${next}`);
    this.state = next;
  }
}
