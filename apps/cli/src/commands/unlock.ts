import { setTimeout as delay } from 'node:timers/promises';

import { type UnlockState } from '@azaion/unlock';

import { type CommandContext, serviceUrl } from '../command-context.js';
import { CliFailure } from '../cli-failure.js';
import { failure } from '../failure-table.js';
import { call, callJson } from '../http.js';
import { serverEvents } from '../server-events.js';
import { describeUnlockError, parseUnlockStatus, type ReportedUnlock } from '../unlock-status.js';

const POLL_MS = 1000;

/** Options of `azaion unlock`. */
export interface UnlockOptions {
  readonly loader?: string;
  /** `false` with `--no-wait`. */
  readonly wait: boolean;
}

/** F4, F5: starts an unlock at a Loader and follows it to its end. */
export async function unlock(context: CommandContext, options: UnlockOptions): Promise<void> {
  const loader = await serviceUrl(context, 'loader', options.loader);
  const { signal, output } = context;
  const started = await callJson({
    method: 'POST',
    url: `${loader}/unlock`,
    token: await context.session.token(),
    signal,
  });
  const states: UnlockState[] = [];
  const enter = (state: UnlockState): void => {
    if (state === states.at(-1)) return;
    states.push(state);
    output.note(`unlock: ${state}`);
  };
  enter(parseUnlockStatus(started).state);
  const progress = output.progress('unlock');
  let last: ReportedUnlock | undefined;
  try {
    for await (const status of statuses(loader, signal)) {
      last = status;
      enter(status.state);
      if (status.progress !== null && status.progress.bytesTotal > 0)
        progress.update(status.progress.bytesDone, status.progress.bytesTotal, status.progress.phase);
      if (!options.wait || status.state === 'ready' || status.state === 'error') break;
    }
  } finally {
    progress.stop();
  }
  if (last === undefined) throw failure('network', 'service.unreachable', `${loader} stopped answering.`);
  if (last.state === 'error')
    throw failure('unlock-failed', 'unlock.failed', `The unlock failed: ${describeUnlockError(last)}`);
  output.result({ state: last.state, states, images: last.images }, [
    last.state === 'ready' ? `Ready: ${String(last.images.length)} images.` : `The unlock runs: ${last.state}.`,
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
  for (;;) {
    yield parseUnlockStatus(await callJson({ method: 'GET', url: `${loader}/unlock/status`, signal }));
    await delay(POLL_MS, undefined, { signal });
  }
}
