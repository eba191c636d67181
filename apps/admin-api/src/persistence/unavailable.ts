import pg from 'pg';

import { AdminError } from '../errors.js';

/** Classes of SQLSTATE that speak of the server, not of the statement: connection, resources, intervention of an operator or a time limit, its disk. */
const CLASSES: readonly string[] = ['08', '53', '57', '58'];
/** A server that takes no writes, as after a switch to another; a transaction that it gave up because nothing happened in it. */
const STATES: readonly string[] = ['25006', '25P03'];
/** `serialization_failure` and `deadlock_detected`. */
const VICTIMS: readonly string[] = ['40001', '40P01'];
/** What `pg` says without a code when a connection is or goes away. */
const LOST =
  /^(?:Connection terminated|Client has encountered a connection error|Client was closed|timeout exceeded|Query read timeout)/;
/** Of sockets. */
const SYSTEM_ERROR = /^E[A-Z_]+$/;
/** A server that was restarted is back about then. */
const RETRY_AFTER_SECONDS = 5;

/** Tells a database that cannot be used right now from a statement that fails. @param error - Of a statement, as `pg` throws it. */
export function isOfServer(error: unknown): boolean {
  const { code, message } = partsOf(error);
  if (error instanceof pg.DatabaseError)
    return code !== undefined && (CLASSES.includes(code.slice(0, 2)) || STATES.includes(code));
  return code === undefined ? LOST.test(message) : SYSTEM_ERROR.test(code);
}

/**
 * Whether a transaction was given up so that others could end: the victim of a deadlock, or of a conflict. Database and connection are sound,
 * and the same request goes through when it is asked again.
 */
export function isVictim(error: unknown): boolean {
  return error instanceof pg.DatabaseError && VICTIMS.includes(error.code ?? '');
}

/** What callers are told of such a database. */
export function unavailable(cause: unknown): AdminError {
  return new AdminError(
    'database.unavailable',
    'The service cannot use its database right now: try again in a few seconds.',
    { cause, details: { retryAfterSeconds: RETRY_AFTER_SECONDS } },
  );
}

/** Whether an error is what {@link unavailable} makes. */
export function isUnavailable(error: unknown): boolean {
  return error instanceof AdminError && error.code === 'database.unavailable';
}

/** In a word or a few why, for the log: messages that could hold values are left out. */
export function reasonOf(error: unknown): string {
  const { code, message } = partsOf(error);
  return code ?? (LOST.test(message) ? message : 'unknown');
}

function partsOf(error: unknown): { readonly code: string | undefined; readonly message: string } {
  if (typeof error !== 'object' || error === null) return { code: undefined, message: '' };
  const { code, message } = error as { code?: unknown; message?: unknown };
  return { code: typeof code === 'string' ? code : undefined, message: typeof message === 'string' ? message : '' };
}
