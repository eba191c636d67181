import { S3Client } from '@aws-sdk/client-s3';
import { type Secret } from '@azaion/kernel';

/** How an S3 service is called. */
export interface S3ClientOptions {
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret<string>;
  /** How long an answer, or the next part of its body, may take; 30 s unless given. */
  readonly answerTimeoutMs?: number;
}

const ATTEMPTS = 3;
const CONNECT_MS = 5_000;
const ANSWER_MS = 30_000;

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
    },
  });
}

/** HTTP status of a failed call; `undefined` when there was no answer. */
export function statusOf(error: unknown): number | undefined {
  const metadata = (error as { $metadata?: { httpStatusCode?: number } } | undefined)?.$metadata;
  return metadata?.httpStatusCode;
}
