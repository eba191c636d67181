/** What the exit status of `azaion` means. Scripts depend on these numbers: they are only ever added to. */
export const EXIT_CODES = {
  ok: { status: 0, meaning: 'done' },
  internal: { status: 1, meaning: 'a fault in azaion itself, or an answer outside the contract' },
  usage: { status: 2, meaning: 'the command line, a name or a file on it is not valid' },
  forbidden: { status: 3, meaning: 'not logged in, wrong credentials, or not allowed' },
  'not-found': { status: 4, meaning: 'the resource, version or archive does not exist' },
  network: { status: 5, meaning: 'the Admin API, Loader or CDN cannot be reached, or does not answer in time' },
  integrity: { status: 6, meaning: 'bytes or signatures are not what was published' },
  'no-space': { status: 7, meaning: 'not enough disk space' },
  refused: { status: 8, meaning: 'understood, but refused: a conflict, a rollback, a limit' },
  'unlock-failed': { status: 9, meaning: 'the Loader ended the unlock in the state "error"' },
  outdated: { status: 10, meaning: 'a newer release of azaion is needed' },
  interrupted: { status: 130, meaning: 'stopped by Ctrl-C or SIGTERM' },
} as const satisfies Record<string, { status: number; meaning: string }>;

/** Name of an exit status. */
export type ExitName = keyof typeof EXIT_CODES;

/** The table as text, for `--help`. */
export function exitCodeTable(): string {
  const rows = Object.values(EXIT_CODES).map(({ status, meaning }) => `  ${String(status).padStart(3)}  ${meaning}`);
  return ['Exit status:', ...rows].join('\n');
}
