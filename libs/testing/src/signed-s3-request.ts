import { createHash, createHmac } from 'node:crypto';

/** Who signs, and for which region. */
export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly region: string;
}

const UNSIGNED = 'UNSIGNED-PAYLOAD';

/**
 * Sends one S3 request signed with AWS Signature Version 4 in its headers, without any SDK, so that set-up and tests do
 * not trust the client that they examine. The payload is not signed: for loopback only.
 *
 * @param path - Starts with `/`; path style (`/bucket/key`), only characters that need no escaping.
 */
export async function signedS3Request(
  endpoint: string,
  credentials: S3Credentials,
  method: 'DELETE' | 'GET' | 'HEAD' | 'PUT',
  path: string,
  body?: Uint8Array<ArrayBuffer>,
): Promise<Response> {
  const url = new URL(path, endpoint);
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
  const scope = `${time.slice(0, 8)}/${credentials.region}/s3/aws4_request`;
  const signedHeaders = 'host;x-amz-content-sha256;x-amz-date';
  const canonicalRequest = [
    method,
    url.pathname,
    '',
    `host:${url.host}`,
    `x-amz-content-sha256:${UNSIGNED}`,
    `x-amz-date:${time}`,
    '',
    signedHeaders,
    UNSIGNED,
  ].join('\n');
  const toSign = ['AWS4-HMAC-SHA256', time, scope, sha256(canonicalRequest)].join('\n');
  const key = scope
    .split('/')
    .reduce<string | Buffer>((parent, part) => hmac(parent, part), `AWS4${credentials.secretAccessKey}`);
  const signature = hmac(key, toSign).toString('hex');
  return fetch(url, {
    method,
    headers: {
      'x-amz-content-sha256': UNSIGNED,
      'x-amz-date': time,
      authorization: `AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/${scope}, SignedHeaders=${signedHeaders}, Signature=${signature}`,
    },
    ...(body === undefined ? {} : { body }),
  });
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
