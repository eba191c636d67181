import { HttpPackSource } from '@azaion/adapters/http-packs';
import { ApiClient, apiUrlProblem } from '@azaion/adapters/resource-api';
import { ResourceError } from '@azaion/split-resource';

import { CliFailure } from '../cli-failure.js';
import type { CommandContext } from '../command-context.js';
import { systemErrorCode } from '../failure-table.js';
import { type LoaderNetwork, loaderNetwork } from '../loader-network.js';
import type { Finding } from './finding.js';

const CALL_MS = 10_000;
const MAX_ANSWER_BYTES = 64 * 1024;
const CLOCK_WRONG_SECONDS = 30; // assertions of devices are refused beyond it
const NOTHING_TO_COMPARE: Finding = {
  check: 'clock',
  state: 'not checked',
  says: 'there is nothing to compare it with',
};

/** Where the Admin API is, and the setting or option that says so. */
export interface ApiAddress {
  readonly url: string;
  readonly from: string;
}

/** Looks at the Admin API, the clock and the object store, over the Loader's own clients and with its settings. */
export async function checkNetwork(
  { env, signal }: CommandContext,
  api: ApiAddress | undefined,
  cdn: string | undefined,
): Promise<readonly Finding[]> {
  let network: LoaderNetwork;
  try {
    network = await loaderNetwork(env);
  } catch (error) {
    if (!(error instanceof CliFailure)) throw error;
    const remedy = 'Set it right, or unset it: the Loader does not start with it.';
    return [
      { check: 'api', state: 'fails', says: error.message, remedy },
      NOTHING_TO_COMPARE,
      { check: 'cdn', state: 'not checked', says: 'first that setting' },
    ];
  }
  return (await Promise.all([checkApiAndClock(api, network, signal), checkCdn(cdn, network, signal)])).flat();
}

async function checkApiAndClock(
  api: ApiAddress | undefined,
  network: LoaderNetwork,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const fails = (says: string, remedy: string): readonly Finding[] => [
    { check: 'api', state: 'fails', says, remedy },
    NOTHING_TO_COMPARE,
  ];
  if (api === undefined)
    return fails('it is not known where the Admin API is', 'Set RESOURCE_API_URL, or give --api URL.');
  const problem = apiUrlProblem(api.url, network.allowInsecure);
  if (problem !== undefined)
    return fails(`${api.from}: ${problem}`, 'Set it right: the Loader does not start with such an address.');
  const client = new ApiClient({ baseUrl: api.url, ...network });
  let refusedWith: number | undefined;
  try {
    await client.call(
      {
        method: 'GET',
        path: '/health/ready',
        expect: [200],
        maxBytes: MAX_ANSWER_BYTES,
        deadlineMs: CALL_MS,
        signal,
      },
      ({ status }) => {
        refusedWith = status;
        return undefined;
      },
    );
  } catch (error) {
    if (refusedWith === undefined) {
      const why = systemErrorCode(error) ?? 'no answer in time';
      const remedy =
        'Check the URL, name resolution, the proxy (HTTPS_PROXY), the authorities (API_CA_FILE) and the link.';
      return fails(`the Admin API does not answer (${why})`, remedy);
    }
  } finally {
    await client.close();
  }
  const finding: Finding =
    refusedWith === undefined
      ? { check: 'api', state: 'ok', says: 'the Admin API is ready' }
      : {
          check: 'api',
          state: 'fails',
          says: `the Admin API answers ${String(refusedWith)}`,
          remedy: 'Wait, or tell its operator.',
        };
  return [finding, clockAgainst(client.serverTimeMs())];
}

function clockAgainst(serverMs: number | undefined): Finding {
  if (serverMs === undefined)
    return { check: 'clock', state: 'not checked', says: 'the Admin API does not tell the time' };
  const offSeconds = Math.round((Date.now() - serverMs) / 1000);
  return Math.abs(offSeconds) <= CLOCK_WRONG_SECONDS
    ? { check: 'clock', state: 'ok', says: `within ${String(Math.abs(offSeconds) + 1)} s of the Admin API's` }
    : {
        check: 'clock',
        state: 'fails',
        says: `${String(Math.abs(offSeconds))} s ${offSeconds > 0 ? 'ahead of' : 'behind'} the Admin API's`,
        remedy: 'Set the clock, or let a time service do it (timedatectl set-ntp true).',
      };
}

async function checkCdn(
  url: string | undefined,
  { proxy }: LoaderNetwork,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  if (url === undefined)
    return [
      { check: 'cdn', state: 'not checked', says: 'its address comes with each grant; give --cdn URL to try it' },
    ];
  const answers = (status: number): readonly Finding[] =>
    // Without a signed URL a refusal is what a healthy store answers.
    status < 500
      ? [{ check: 'cdn', state: 'ok', says: `it answers (${String(status)})` }]
      : [
          {
            check: 'cdn',
            state: 'fails',
            says: `it answers ${String(status)}`,
            remedy: 'Tell the operator of the object store.',
          },
        ];
  const source = new HttpPackSource({ proxy });
  // No pack in particular: the first byte of whatever is there.
  const somewhere = { folderId: '', pack: { packId: '', sizeBytes: 1, sha256: new Uint8Array(32) }, url };
  try {
    const body = await source.open(somewhere, { start: 0, end: 1 }, CALL_MS, signal);
    body.on('error', () => undefined).destroy();
    return answers(200);
  } catch (error) {
    const status = error instanceof ResourceError ? error.details['status'] : undefined;
    if (typeof status === 'number') return answers(status);
    const why = systemErrorCode(error) ?? 'no answer in time';
    return [
      {
        check: 'cdn',
        state: 'fails',
        says: `it does not answer (${why})`,
        remedy: 'Check the address, the proxy (HTTPS_PROXY) and the link.',
      },
    ];
  } finally {
    await source.close();
  }
}
