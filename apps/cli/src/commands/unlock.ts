import { setTimeout as delay } from 'node:timers/promises';

import { loaderClient } from '@azaion/adapters/service-client';
import type { UnlockState } from '@azaion/unlock';

import { type CommandContext, findService } from '../command-context.js';
import { CliFailure } from '../cli-failure.js';
import { counted } from '../format.js';
import { failure, unlockFailure } from '../failure-table.js';
import { call, callsWith, contentOf } from '../http.js';
import { serverEvents } from '../server-events.js';
import {
  describePhase,
  describeReport,
  describeRetry,
  describeUnlockError,
  parseUnlockStatus,
  type ReportedUnlock,
} from '../unlock-status.js';

const POLL_MS = 1000;

/** Options of `azaion unlock`. */
export interface UnlockOptions {
  readonly loader?: string;
  /** `false` with `--no-wait`. */
  readonly wait: boolean;
  /** Ends the run at work instead. */
  readonly cancel?: boolean;
}

/** F4, F5: starts an unlock at a Loader and follows it to its end. */
export async function unlock(context: CommandContext, options: UnlockOptions): Promise<void> {
  const service = await findService(context, 'loader', options.loader);
  const { signal, output, session } = context;
  const loader = service.url;
  const routes = loaderClient({ baseUrl: loader, fetch: callsWith(() => session.token(service), signal) });
  if (options.cancel === true) {
    await routes.POST('/unlock/cancel', { body: {} });
    output.result({ cancelled: true }, ['The run is being stopped. Images that were loaded before it stay.']);
    return;
  }
  const started = contentOf(await routes.POST('/unlock', { body: {} }));
  const states: UnlockState[] = [];
  const enter = (state: UnlockState): void => {
    if (state === states.at(-1)) return;
    states.push(state);
    output.note(`unlock: ${state}`);
  };
  enter(parseUnlockStatus({ ...started }).state);
  let phase = '';
  const progress = output.progress('unlock');
  let last: ReportedUnlock | undefined;
  try {
    for await (const status of statuses(loader, signal)) {
      last = status;
      enter(status.state);
      if (status.progress !== null) {
        const { bytesDone, bytesTotal, phase: now } = status.progress;
        if (now !== phase && now !== status.state) output.note(`unlock: ${describePhase(status.progress)}`);
        phase = now;
        if (bytesTotal > 0) progress.update(bytesDone, bytesTotal, describePhase(status.progress));
      }
      if (!options.wait || status.state === 'ready' || status.state === 'error') break;
    }
  } finally {
    progress.stop();
  }
  if (last === undefined) throw failure('service.unreachable', `${loader} stopped answering.`);
  if (last.state === 'error')
    throw unlockFailure(
      last.error ?? 'unlock.failed',
      [
        `The unlock failed: ${describeUnlockError(last)}`,
        ...(last.retry === null ? [] : [describeRetry(last.retry)]),
      ].join(' '),
    );
  const loaded = last.state === 'ready' && states.length > 1 ? last.report : null;
  output.result({ state: last.state, states, images: last.images, report: loaded }, [
    last.state === 'ready' ? `Ready: ${counted(last.images.length, 'image')}.` : `The unlock runs: ${last.state}.`,
    ...(loaded === null ? [] : [describeReport(loaded)]),
    ...last.images.map((image) => `  ${image}`),
  ]);
}

/** The states of an unlock as they come: by events, and by asking where there are none. */
async function* statuses(loader: string, signal: AbortSignal): AsyncGenerator<ReportedUnlock> {
  try {
    const { body } = await call({
      method: 'GET',
      url: `${loader}/unlock/events`,
      accept: 'text/event-stream',
      signal,
    });
    if (body !== null)
      for await (const data of serverEvents(body)) yield parseUnlockStatus(JSON.parse(data) as Record<string, unknown>);
  } catch (error) {
    if (signal.aborted || (error instanceof CliFailure && error.exit === 'network')) throw error;
  }
  const routes = loaderClient({ baseUrl: loader, fetch: callsWith(undefined, signal) });
  for (;;) {
    yield parseUnlockStatus({ ...contentOf(await routes.GET('/unlock/status')) });
    await delay(POLL_MS, undefined, { signal });
  }
}
