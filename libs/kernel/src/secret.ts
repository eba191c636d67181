import { inspect } from 'node:util';

const REDACTED = '[redacted]';

/** A value that must not reach a log, an answer or a message: it prints as `[redacted]` everywhere. */
export class Secret<T> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  /** The value itself. Call it at the last moment, and pass the result on only to what needs it. */
  reveal(): T {
    return this.#value;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}
