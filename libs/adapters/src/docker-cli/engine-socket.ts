import { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';

import type { CliProcess, CliResult, ContainerCli } from './container-cli.js';

const UNIX = 'unix://';
const API_VERSION = /^\d{1,3}\.\d{1,3}$/;
const PODMAN_HEADER = 'libpod-api-version';
const IMAGE_ID = /^sha256:[0-9a-f]{64}$/;
/** An engine that is there says so at once; one that is busy gets the time that the CLI would give it. */
const ANSWER_MS = 5_000;
/** What an engine says of a load is a line for each image, or one error; of an image, its description. */
const MAX_ANSWER_CHARACTERS = 1024 * 1024;
/** Of an answer that is none of the API's, for the log. */
const MAX_ODD_CHARACTERS = 2000;

/** A socket of this machine on which an engine answers. */
export interface EngineSocket {
  readonly path: string;
  /** The newest that the engine speaks, such as `1.41`. */
  readonly apiVersion: string;
  /** podman's service speaks docker's API, too. */
  readonly isPodman: boolean;
}

/**
 * Where docker's CLI finds its engine, by its environment and its context, when that is a socket of this machine with the same engine behind it:
 * a CLI that works elsewhere, by ssh or in another namespace, may name a path that means another one here.
 *
 * @returns The socket's path; empty when the engine is reached otherwise; `undefined` when the CLI, or the engine, does not say.
 */
export async function engineSocketPath(cli: ContainerCli, signal: AbortSignal): Promise<string | undefined> {
  const context = await cli.run(['context', 'inspect', '--format', '{{.Endpoints.docker.Host}}'], signal);
  if (context.exitCode !== 0) return undefined;
  const endpoint = context.stdout.trim();
  if (!endpoint.startsWith(`${UNIX}/`)) return '';
  const path = endpoint.slice(UNIX.length);
  const engine = await reachedEngine(path, signal);
  if (engine === undefined) return undefined;
  const there = await cli.run(['info', '--format', '{{.ID}}'], signal);
  const here = await ask(path, `/v${engine.apiVersion}/info`, signal);
  const { ID: id } = here?.status === 200 ? textsIn(here.text) : {};
  if (there.exitCode !== 0 || id === undefined || id === '') return undefined;
  return there.stdout.trim() === id ? path : '';
}

/**
 * Asks whether docker's engine answers there.
 *
 * @returns `undefined` when it does not, for whatever reason: the CLI has words for each.
 * @throws the signal's reason.
 */
export async function reachedEngine(path: string, signal: AbortSignal): Promise<EngineSocket | undefined> {
  const answer = await ask(path, '/_ping', signal);
  if (answer?.status !== 200) return undefined;
  const apiVersion = String(answer.headers['api-version']);
  const isPodman = PODMAN_HEADER in answer.headers;
  return API_VERSION.test(apiVersion) ? { path, apiVersion, isPodman } : undefined;
}

/**
 * Asks for the id of an image, in a twentieth of the time that the command takes to start.
 *
 * @returns What the engine says it is, `null` when it says that there is none; `undefined` when it says neither.
 * @throws the signal's reason.
 */
export async function imageIdAt(
  { path, apiVersion }: EngineSocket,
  reference: string,
  signal: AbortSignal,
): Promise<string | null | undefined> {
  const answer = await ask(path, `/v${apiVersion}/images/${encodeURIComponent(reference)}/json`, signal);
  if (answer?.status === 404 && textsIn(answer.text)['message']?.startsWith('No such image') === true) return null;
  const { Id: id } = answer?.status === 200 ? textsIn(answer.text) : {};
  return id !== undefined && IMAGE_ID.test(id) ? id : undefined;
}

interface EngineAnswer {
  readonly status: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** @returns `undefined` for no answer, or a broken one. @throws the signal's reason. */
async function ask(socketPath: string, path: string, signal: AbortSignal): Promise<EngineAnswer | undefined> {
  const question = request({
    socketPath,
    path,
    headers: { host: 'docker' },
    agent: false,
    signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]),
  });
  const answered = answerTo(question);
  try {
    question.end();
    const response = await answered;
    return { status: response.statusCode, headers: response.headers, text: await textOf(response) };
  } catch {
    signal.throwIfAborted();
    return undefined;
  } finally {
    question.destroy();
  }
}

/** Rejects when the connection ends without an answer. Later errors of the request are heard as well: the answer's body has them. */
function answerTo(asked: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    asked.on('response', resolve).on('error', reject);
    asked.on('close', () => reject(new Error('the connection was closed')));
  });
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
  const ended = answerTo(load)
    .then(resultOf)
    .catch((error: unknown) => failure(`error during connect: ${String(error)}`))
    .finally(() => load.destroy());
  return { stdin: load, ended, kill: () => load.destroy() };
}

/** @throws Error of a connection that breaks. */
async function resultOf(response: IncomingMessage): Promise<CliResult> {
  const text = await textOf(response);
  const messages = text.split('\n').map(textsIn);
  const errors = messages.flatMap(({ error, message }) => error ?? message ?? []);
  const stdout = messages.map(({ stream = '' }) => stream).join('');
  return response.statusCode === 200 && errors.length === 0
    ? { exitCode: 0, stdout, stderr: '' }
    : failure(errors.join('\n') || `HTTP ${String(response.statusCode)}: ${text.slice(0, MAX_ODD_CHARACTERS)}`);
}

/** @throws Error of a connection that breaks, and for more than anybody needs. */
async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const more of response.setEncoding('utf8') as AsyncIterable<string>) {
    text += more;
    if (text.length > MAX_ANSWER_CHARACTERS) throw new Error('the answer is too long');
  }
  return text;
}

function failure(stderr: string): CliResult {
  return { exitCode: 1, stdout: '', stderr };
}

/** The texts by their names in one line of an answer, or in all of one. What is no such thing has none. */
function textsIn(json: string): Readonly<Partial<Record<string, string>>> {
  try {
    const fields = Object.entries(JSON.parse(json) as object);
    return Object.fromEntries(fields.filter((field): field is [string, string] => typeof field[1] === 'string'));
  } catch {
    return {};
  }
}
