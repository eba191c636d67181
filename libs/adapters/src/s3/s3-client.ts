import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';

import { S3Client } from '@aws-sdk/client-s3';
import type { Secret } from '@azaion/kernel';

/** How an S3 service is called. */
export interface S3ClientOptions {
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret<string>;
  /** How long an answer, or the next part of its body, may take; 30 s unless given. */
  readonly answerTimeoutMs?: number;
  /** URL of an HTTP proxy; connected to directly unless given. */
  readonly proxy?: string | undefined;
}

const ATTEMPTS = 3;
const CONNECT_MS = 5_000;
const ANSWER_MS = 30_000;
/** What the SDK's own agents have. */
const MAX_SOCKETS = 50;

/** A client with time limits on everything, in path style. @param endpoint - `undefined` for AWS. */
export function s3Client(options: S3ClientOptions, endpoint: string | undefined): S3Client {
  const answerMs = options.answerTimeoutMs ?? ANSWER_MS;
  return new S3Client({
    region: options.region,
    ...(endpoint === undefined ? {} : { endpoint }),
    credentials: { accessKeyId: options.accessKeyId, secretAccessKey: options.secretAccessKey.reveal() },
    forcePathStyle: true,
    // Newer defaults add checksums that other services than AWS ignore or refuse.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    maxAttempts: ATTEMPTS,
    requestHandler: {
      connectionTimeout: CONNECT_MS,
      requestTimeout: answerMs,
      throwOnRequestTimeout: true, // or the limit is only warned about
      socketTimeout: answerMs, // for bodies that stop arriving
      ...(options.proxy === undefined ? {} : agentsThrough(options.proxy)),
    },
  });
}

/** Node's own way through a proxy: tunnels for HTTPS, whole URLs for HTTP. */
function agentsThrough(proxy: string): { readonly httpAgent: HttpAgent; readonly httpsAgent: HttpsAgent } {
  const options = { keepAlive: true, maxSockets: MAX_SOCKETS, proxyEnv: { HTTP_PROXY: proxy, HTTPS_PROXY: proxy } };
  return { httpAgent: new HttpAgent(options), httpsAgent: new HttpsAgent(options) };
}

/** HTTP status of a failed call; `undefined` when there was no answer. */
export function statusOf(error: unknown): number | undefined {
  const metadata = (error as { $metadata?: { httpStatusCode?: number } } | undefined)?.$metadata;
  return metadata?.httpStatusCode;
}
