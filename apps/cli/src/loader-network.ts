import { readFile } from 'node:fs/promises';

import { certificatesProblem, proxyUrlProblem } from '@azaion/adapters/resource-api';

import { usageFailure } from './cli-failure.js';
import { systemErrorCode } from './failure-table.js';

/** How the Loader of this machine reaches other machines. */
export interface LoaderNetwork {
  /** PEM of the certificate authorities for the Admin API; the platform's when unset. The object store is always judged by the platform's. */
  readonly ca: string | undefined;
  /** URL of an HTTP proxy, for the Admin API and the object store. */
  readonly proxy: string | undefined;
  /** Whether plain HTTP to an Admin API on another machine is permitted. */
  readonly allowInsecure: boolean;
}

/** Reads the Loader's variables, with its checks. @throws CliFailure exit `usage` naming the variable, where the Loader would not start. */
export async function loaderNetwork(env: NodeJS.ProcessEnv): Promise<LoaderNetwork> {
  const proxy = env['HTTPS_PROXY'] || undefined; // an empty variable is an unset one
  const problem = proxy === undefined ? undefined : proxyUrlProblem(proxy);
  if (problem !== undefined) throw usageFailure(`HTTPS_PROXY: ${problem}.`);
  return { ca: await authorities(env['API_CA_FILE']), proxy, allowInsecure: env['ALLOW_INSECURE_API'] === 'true' };
}

async function authorities(path: string | undefined): Promise<string | undefined> {
  if (!path) return undefined;
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw usageFailure(`API_CA_FILE: the file cannot be read (${systemErrorCode(error) ?? 'unknown reason'}).`);
  }
  const problem = certificatesProblem(text);
  if (problem !== undefined) throw usageFailure(`API_CA_FILE: ${problem}.`);
  return text;
}
