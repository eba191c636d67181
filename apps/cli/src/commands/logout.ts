import { type CommandContext } from '../command-context.js';
import { failureOf } from '../failure-table.js';

/** F1: ends the session at the service that gave it, and forgets the tokens in any case. */
export async function logout(context: CommandContext): Promise<void> {
  const { session } = await context.profile.read();
  if (session === undefined) {
    context.output.result({ loggedOut: false }, ['You were not logged in.']);
    return;
  }
  let ended = true;
  try {
    await context.session.end(session);
  } catch (error) {
    ended = false;
    context.output.note(`The service was not told: ${failureOf(error).message} Its tokens end by themselves.`);
  }
  await context.session.forget();
  context.output.result({ loggedOut: true, endedAtService: ended }, ['Logged out.']);
}
