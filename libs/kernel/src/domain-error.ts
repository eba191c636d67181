/** Who has to act on an error: it decides the wording of the remedy and the class of HTTP status. */
export type Culprit = 'caller' | 'operator' | 'publisher' | 'upstream' | 'attacker';

/** Facts about an error that are safe to show to any caller: no secret, no path, no upstream text. */
export type SafeDetails = Readonly<Record<string, string | number | boolean | readonly string[]>>;

/**
 * An error of the domain with a stable code (`area.problem`). Every lib extends it once with its own closed union of codes.
 *
 * @typeParam Code - The lib's closed union of codes; the table code → HTTP status must have a row for each.
 */
export class DomainError<Code extends string = string> extends Error {
  /** Facts for the caller, safe to show. */
  readonly details: SafeDetails;

  /**
   * @param code - Stable code, part of the public contract.
   * @param message - A plain sentence: what happened and what to do. Shown to callers, so it holds no secret, path or upstream text.
   * @param options - `cause` is kept for logs only; `details` are shown.
   */
  constructor(
    readonly code: Code,
    message: string,
    options: { cause?: unknown; details?: SafeDetails } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.details = options.details ?? {};
  }
}
