import { loaderClient } from '@azaion/adapters/service-client';

import { type CommandContext, findService } from '../command-context.js';
import { callsWith, contentOf } from '../http.js';
import { formatBytes } from '../format.js';
import { type DownCheck, whatIsDown } from '../readiness.js';
import { describeRetry, describeUnlock, parseUnlockStatus } from '../unlock-status.js';

/** Options of `azaion status`. */
export interface StatusOptions {
  readonly loader?: string;
}

/** F5, F6: what a Loader does right now. */
export async function status(context: CommandContext, options: StatusOptions): Promise<void> {
  const { url: loader } = await findService(context, 'loader', options.loader);
  const routes = loaderClient({ baseUrl: loader, fetch: callsWith(undefined, context.signal) });
  const [answer, unlockAnswer, down] = await Promise.all([
    routes.GET('/status'),
    routes.GET('/unlock/status'),
    whatIsDown(loader, context.signal),
  ]);
  const facts: Readonly<Record<string, unknown>> = { ...contentOf(answer) };
  const unlocking = parseUnlockStatus({ ...contentOf(unlockAnswer) });
  context.output.result({ ready: down.length === 0, down, loader: facts, unlock: unlocking }, [
    `Loader ${loader}`,
    ...factLines(facts, down),
    `  unlock       ${describeUnlock(unlocking)}`,
    ...(unlocking.retry === null ? [] : [`               ${describeRetry(unlocking.retry)}`]),
    ...unlocking.images.map((image) => `               ${image}`),
  ]);
}

/** The facts a person asks for, in words; what a newer Loader tells beyond them is in `--json`. */
function factLines(facts: Readonly<Record<string, unknown>>, down: readonly DownCheck[]): readonly string[] {
  const { version, offline, authenticated, binding, bindingReason, cache, modelCacheDir } = facts;
  const rows: [string, string | undefined][] = [
    ['version', text(version)],
    ['state', down.length === 0 ? 'ready' : 'not ready'],
    ...down.map(({ check, reason }): [string, string] => ['', `${check}: ${reason}`]),
    ['Admin API', typeof offline === 'boolean' ? (offline ? 'out of reach' : 'reachable') : undefined],
    ['logged in', typeof authenticated === 'boolean' ? (authenticated ? 'yes' : 'nobody') : undefined],
    ['keys', [text(binding), text(bindingReason)].filter((part) => part !== undefined).join(': ')],
    ['cache', [cacheText(cache), text(modelCacheDir)].filter((part) => part !== undefined).join(' in ')],
  ];
  return rows.flatMap(([name, value]) =>
    value === undefined || value === '' ? [] : [`  ${name.padEnd(12)} ${value}`],
  );
}

function cacheText(cache: unknown): string | undefined {
  if (typeof cache !== 'object' || cache === null) return undefined;
  const { bytes, limitBytes } = cache as Readonly<Record<string, unknown>>;
  return typeof bytes === 'number' && typeof limitBytes === 'number'
    ? `${formatBytes(bytes)} of ${formatBytes(limitBytes)}`
    : undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
