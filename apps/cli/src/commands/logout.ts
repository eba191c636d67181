import type { CommandContext } from '../command-context.js';
import { failureOf } from '../failure-table.js';

/** F1: ends every login at the service that gave it, and forgets the tokens in any case. */
export async function logout(context: CommandContext): Promise<void> {
  const { sessions } = await context.profile.read();
  if (sessions.length === 0) {
    context.output.result({ loggedOut: false }, ['You were not logged in.']);
    return;
  }
  let ended = true;
  for (const { issuedBy } of sessions)
    try {
      await context.session.end(issuedBy);
    } catch (error) {
      ended = false;
      context.output.note(`${issuedBy.url} was not told: ${failureOf(error).message} Its tokens end by themselves.`);
    }
  await context.session.forget();
  context.output.result({ loggedOut: true, endedAtService: ended }, ['Logged out.']);
}
