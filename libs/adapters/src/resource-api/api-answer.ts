import { fromBase64Url } from '@azaion/kernel';

/** An answer that is not what the contract says. It never leaves the adapter: callers see `api.unexpected`. */
export class AnswerShapeError extends Error {
  constructor(member: string) {
    super(`the member ${member} of an answer is missing or out of bounds`);
    this.name = 'AnswerShapeError';
  }
}

/**
 * One object of an untrusted JSON answer. Every read checks type and bounds and throws {@link AnswerShapeError}; members that nobody
 * reads are ignored, so that a newer API may add some.
 */
export class ApiAnswer {
  private readonly members: Readonly<Record<string, unknown>>;

  constructor(
    value: unknown,
    private readonly path = 'answer',
  ) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new AnswerShapeError(path);
    this.members = value as Record<string, unknown>;
  }

  /** Whether the member is there at all. */
  has(name: string): boolean {
    return this.members[name] !== undefined;
  }

  /** Whether the member is there and says that there is nothing. */
  isNull(name: string): boolean {
    return this.members[name] === null;
  }

  /** Whether the member is a text, where it may be something else. */
  isText(name: string): boolean {
    return typeof this.members[name] === 'string';
  }

  /** A text of 1 to `maxChars` characters that matches the pattern, if one is given. */
  text(name: string, maxChars: number, pattern?: RegExp): string {
    const value = this.members[name];
    if (typeof value !== 'string' || value.length === 0 || value.length > maxChars || pattern?.test(value) === false)
      throw new AnswerShapeError(`${this.path}.${name}`);
    return value;
  }

  /** An integer from `least` to `most`. */
  count(name: string, least: number, most: number): number {
    const value = this.members[name];
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least || value > most)
      throw new AnswerShapeError(`${this.path}.${name}`);
    return value;
  }

  /** Whether a member is `true`. @param otherwise - For one that is not there. */
  flag(name: string, otherwise = false): boolean {
    const value = this.members[name] ?? otherwise;
    if (typeof value !== 'boolean') throw new AnswerShapeError(`${this.path}.${name}`);
    return value;
  }

  /** Canonical base64url of `leastBytes` to `mostBytes` bytes. */
  bytes(name: string, leastBytes: number, mostBytes = leastBytes): Uint8Array {
    const value = this.members[name];
    const bytes = typeof value === 'string' ? fromBase64Url(value, mostBytes) : undefined;
    if (bytes === undefined || bytes.length < leastBytes) throw new AnswerShapeError(`${this.path}.${name}`);
    return bytes;
  }

  /** An `http:` or `https:` URL of at most 8192 characters. */
  url(name: string): string {
    const text = this.text(name, 8192);
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url?.protocol !== 'https:' && url?.protocol !== 'http:') throw new AnswerShapeError(`${this.path}.${name}`);
    return text;
  }

  /** One of the given texts. */
  oneOf<const Choice extends string>(name: string, choices: readonly Choice[]): Choice {
    const value = this.members[name];
    const choice = choices.find((each) => each === value);
    if (choice === undefined) throw new AnswerShapeError(`${this.path}.${name}`);
    return choice;
  }

  /** A nested object. */
  object(name: string): ApiAnswer {
    return new ApiAnswer(this.members[name], `${this.path}.${name}`);
  }

  /** A nested array of at most `most` objects. */
  list(name: string, most: number): ApiAnswer[] {
    return answerList(this.members[name], most, `${this.path}.${name}`);
  }

  /** Text members of a nested object, such as header fields: at most 32, each name a token of HTTP. */
  texts(name: string): Readonly<Record<string, string>> {
    const entries = Object.entries(this.object(name).members);
    if (entries.length > 32) throw new AnswerShapeError(`${this.path}.${name}`);
    for (const [field, value] of entries) {
      if (!/^[A-Za-z0-9-]{1,64}$/.test(field) || typeof value !== 'string' || !/^[\x20-\x7e]{0,2048}$/.test(value))
        throw new AnswerShapeError(`${this.path}.${name}`);
    }
    return Object.fromEntries(entries) as Record<string, string>;
  }
}

/** An array of at most `most` objects. @throws AnswerShapeError. */
export function answerList(value: unknown, most: number, path = 'answer'): ApiAnswer[] {
  if (!Array.isArray(value) || value.length > most) throw new AnswerShapeError(path);
  return value.map((item, index) => new ApiAnswer(item, `${path}[${index}]`));
}
