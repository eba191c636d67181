import { type Caller } from '@azaion/identity';
import { type Clock } from '@azaion/kernel';

const MAX_ANSWERS = 8192;

/** What a caller may do in a folder. Who may open what it holds may see it; the other way round attestation stands in between. */
export type FolderRight = 'see' | 'open';

/**
 * That the Admin API let a token see or open what a folder holds, for the life of that token: with it, what the device holds opens on a bad link. It
 * gives nobody more than the Admin API gave, and a newer refusal takes it back. In memory only.
 */
export class FolderAnswers {
  private readonly until = new Map<string, number>();

  constructor(private readonly clock: Clock) {}

  /** Whether the Admin API has let this very token do so in the folder. @param caller - Verified. */
  allows(caller: Caller, folder: string, right: FolderRight): boolean {
    return (this.until.get(keyOf(caller, folder, right)) ?? 0) > this.clock.nowMs() / 1000;
  }

  /** The Admin API has just let the caller do so in the folder. */
  allowed(caller: Caller, folder: string, right: FolderRight): void {
    if (right === 'open') this.allowed(caller, folder, 'see');
    const key = keyOf(caller, folder, right);
    this.until.delete(key); // to the end: what was asked for longest ago is forgotten first
    this.until.set(key, caller.expiresAt);
    const oldest = this.until.keys().next().value;
    if (this.until.size > MAX_ANSWERS && oldest !== undefined) this.until.delete(oldest);
  }

  /** The Admin API has just refused. */
  refused(caller: Caller, folder: string): void {
    for (const right of ['see', 'open'] as const) this.until.delete(keyOf(caller, folder, right));
  }
}

/** Names hold no slash; a token id of the Admin API's is a UUID. */
function keyOf({ userId, tokenId }: Caller, folder: string, right: FolderRight): string {
  return JSON.stringify([userId, tokenId, folder, right]);
}
