import { type CommandContext, serviceUrl } from '../command-context.js';
import { callJson } from '../http.js';
import { describeUnlock, parseUnlockStatus } from '../unlock-status.js';

/** Options of `azaion status`. */
export interface StatusOptions {
  readonly loader?: string;
}

/** F5, F6: what a Loader does right now. */
export async function status(context: CommandContext, options: StatusOptions): Promise<void> {
  const loader = await serviceUrl(context, 'loader', options.loader);
  const { signal } = context;
  const [facts, unlockBody] = await Promise.all([
    callJson({ method: 'GET', url: `${loader}/status`, signal }),
    callJson({ method: 'GET', url: `${loader}/unlock/status`, signal }),
  ]);
  const unlocking = parseUnlockStatus(unlockBody);
  context.output.result({ loader: facts, unlock: unlocking }, [
    `Loader ${loader}`,
    ...Object.entries(facts).map(
      ([name, value]) => `  ${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`,
    ),
    `  unlock: ${describeUnlock(unlocking)}`,
    ...unlocking.images.map((image) => `    ${image}`),
  ]);
}
