import type { Caller } from '@azaion/identity';
import type { Clock } from '@azaion/kernel';

const MAX_ANSWERS = 8192;

/** What a caller may do in a folder. Who may open what it holds may see it; the other way round attestation stands in between. */
export type FolderRight = 'see' | 'open';

/**
 * That the Admin API let a token see or open what a folder holds, for the life of that token: with it, what the device holds opens on a bad link. It
 * gives nobody more than the Admin API gave, and a newer refusal takes it back. In memory only.
 */
export class FolderAnswers {
  private readonly answers = new Map<string, { readonly expiresAt: number; readonly mayOpen: boolean }>();

  constructor(private readonly clock: Clock) {}

  /** Whether the Admin API has let this very token do so in the folder. @param caller - Verified. */
  allows(caller: Caller, folder: string, right: FolderRight): boolean {
    const answer = this.answers.get(keyOf(caller, folder));
    if (answer === undefined || answer.expiresAt <= this.clock.nowMs() / 1000) return false;
    return right === 'see' || answer.mayOpen;
  }

  /** The Admin API has just let the caller do so in the folder. */
  allowed(caller: Caller, folder: string, right: FolderRight): void {
    const key = keyOf(caller, folder);
    const mayOpen = right === 'open' || this.answers.get(key)?.mayOpen === true;
    this.answers.delete(key); // to the end: what was asked for longest ago is forgotten first
    this.answers.set(key, { expiresAt: caller.expiresAt, mayOpen });
    const oldest = this.answers.keys().next().value;
    if (this.answers.size > MAX_ANSWERS && oldest !== undefined) this.answers.delete(oldest);
  }

  /** The Admin API has just refused. */
  refused(caller: Caller, folder: string): void {
    this.answers.delete(keyOf(caller, folder));
  }
}

/** Names hold no slash; a token id of the Admin API's is a UUID. */
function keyOf({ userId, tokenId }: Caller, folder: string): string {
  return JSON.stringify([userId, tokenId, folder]);
}
