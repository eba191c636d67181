import { type Caller } from '@azaion/identity';
import { type Clock } from '@azaion/kernel';

const MAX_ANSWERS = 8192;

/**
 * That the Admin API let a token read in a folder, for the life of that token: with it, what the device holds opens on a bad link. It
 * gives nobody more than the Admin API gave, and a newer refusal takes it back. In memory only.
 */
export class FolderAnswers {
  private readonly until = new Map<string, number>();

  constructor(private readonly clock: Clock) {}

  /** Whether the Admin API has let this very token read in the folder. @param caller - Verified. */
  allows(caller: Caller, folder: string): boolean {
    return (this.until.get(keyOf(caller, folder)) ?? 0) > this.clock.nowMs() / 1000;
  }

  /** The Admin API has just granted something in the folder. */
  allowed(caller: Caller, folder: string): void {
    const key = keyOf(caller, folder);
    this.until.delete(key); // to the end: what was asked for longest ago is forgotten first
    this.until.set(key, caller.expiresAt);
    const oldest = this.until.keys().next().value;
    if (this.until.size > MAX_ANSWERS && oldest !== undefined) this.until.delete(oldest);
  }

  /** The Admin API has just refused. */
  refused(caller: Caller, folder: string): void {
    this.until.delete(keyOf(caller, folder));
  }
}

/** Names hold no slash; a token id of the Admin API's is a UUID. */
function keyOf({ userId, tokenId }: Caller, folder: string): string {
  return JSON.stringify([userId, tokenId, folder]);
}
