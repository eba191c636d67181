import { once } from 'node:events';
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';

import type { CliProcess, CliResult, ContainerCli } from './container-cli.js';

const UNIX = 'unix://';
const API_VERSION = /^\d{1,3}\.\d{1,3}$/;
const IMAGE_ID = /^sha256:[0-9a-f]{64}$/;
/** An engine that is there says so at once; one that is busy gets the time that the CLI would give it. */
const ANSWER_MS = 5_000;
/** What an engine says of a load is a line for each image, or one error; of an image, its description. */
const MAX_ANSWER_CHARACTERS = 1024 * 1024;

/** A socket of this machine on which docker's engine answers. */
export interface EngineSocket {
  readonly path: string;
  /** The newest that the engine speaks, such as `1.41`. */
  readonly apiVersion: string;
}

/**
 * Where docker's CLI finds its engine, by its environment and its context.
 *
 * @returns The path of a socket of this machine; empty when the engine is reached otherwise, or the CLI does not say how.
 */
export async function engineSocketPath(cli: ContainerCli, signal: AbortSignal): Promise<string> {
  const { exitCode, stdout } = await cli.run(['context', 'inspect', '--format', '{{.Endpoints.docker.Host}}'], signal);
  const endpoint = stdout.trim();
  return exitCode === 0 && endpoint.startsWith(`${UNIX}/`) ? endpoint.slice(UNIX.length) : '';
}

/** Asks whether an engine answers there. @returns `undefined` when it does not, for whatever reason: the CLI has words for each. */
export async function reachedEngine(path: string, signal: AbortSignal): Promise<EngineSocket | undefined> {
  const answer = await ask(path, '/_ping', signal);
  const apiVersion = String(answer?.headers['api-version']);
  return answer?.status === 200 && API_VERSION.test(apiVersion) ? { path, apiVersion } : undefined;
}

/**
 * Asks for the id of an image, in a twentieth of the time that the command takes to start.
 *
 * @returns What the engine says it is, `null` when it says that there is none; `undefined` when it says neither.
 */
export async function imageIdAt(
  { path, apiVersion }: EngineSocket,
  reference: string,
  signal: AbortSignal,
): Promise<string | null | undefined> {
  const answer = await ask(path, `/v${apiVersion}/images/${encodeURIComponent(reference)}/json`, signal);
  if (answer?.status === 404 && messageIn(answer.text).message?.startsWith('No such image') === true) return null;
  const { id } = answer?.status === 200 ? messageIn(answer.text) : {};
  return id !== undefined && IMAGE_ID.test(id) ? id : undefined;
}

interface EngineAnswer {
  readonly status: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

async function ask(socketPath: string, path: string, signal: AbortSignal): Promise<EngineAnswer | undefined> {
  const question = request({
    socketPath,
    path,
    headers: { host: 'docker' },
    agent: false,
    signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]),
  });
  try {
    question.end();
    const [response] = (await once(question, 'response')) as [IncomingMessage];
    return { status: response.statusCode, headers: response.headers, text: await textOf(response) };
  } catch {
    return undefined;
  } finally {
    question.on('error', () => undefined).destroy();
  }
}

/**
 * Starts what `docker load` does, by the engine's own HTTP API: the command would be one more process that copies every byte. The archive is the
 * request's body, sent in chunks, so that one that breaks off is never taken for a whole. An error inside a success is a failure.
 *
 * @returns As if it were the command, with what that prints.
 */
export function startSocketLoad({ path, apiVersion }: EngineSocket, signal: AbortSignal): CliProcess {
  const load = request({
    socketPath: path,
    method: 'POST',
    path: `/v${apiVersion}/images/load?quiet=1`,
    headers: { host: 'docker', 'content-type': 'application/x-tar' },
    agent: false,
    signal,
  });
  // An engine that ends before it has read everything is reported by what it says, not by its socket.
  load.on('error', () => undefined);
  const ended = once(load, 'response')
    .then(([response]) => resultOf(response as IncomingMessage))
    .catch((error: unknown) => failure(`error during connect: ${String(error)}`))
    .finally(() => load.destroy());
  return { stdin: load, ended, kill: () => load.destroy() };
}

/** @throws Error of a connection that breaks. */
async function resultOf(response: IncomingMessage): Promise<CliResult> {
  const messages = (await textOf(response)).split('\n').map(messageIn);
  const errors = messages.flatMap(({ error, message }) => error ?? message ?? []);
  const stdout = messages.map(({ stream }) => stream ?? '').join('');
  return response.statusCode === 200 && errors.length === 0
    ? { exitCode: 0, stdout, stderr: '' }
    : failure(errors.join('\n'));
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const more of response.setEncoding('utf8') as AsyncIterable<string>) {
    text += more;
    if (text.length > MAX_ANSWER_CHARACTERS) break;
  }
  return text;
}

function failure(stderr: string): CliResult {
  return { exitCode: 1, stdout: '', stderr };
}

interface EngineMessage {
  readonly stream?: string;
  readonly error?: string;
  readonly message?: string;
  readonly id?: string;
}

/** One line of an answer. What is none says nothing. */
function messageIn(line: string): EngineMessage {
  try {
    const { stream, error, message, Id: id } = JSON.parse(line) as Record<string, unknown>;
    return {
      ...(typeof stream === 'string' && { stream }),
      ...(typeof error === 'string' && { error }),
      ...(typeof message === 'string' && { message }),
      ...(typeof id === 'string' && { id }),
    };
  } catch {
    return {};
  }
}
