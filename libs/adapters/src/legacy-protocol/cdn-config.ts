import { Secret } from '@azaion/kernel';

/** What `cdn.yaml` says: where the older CDN is and with which keys (docs/formats/legacy.md). */
export interface LegacyCdnConfig {
  readonly endpoint: string;
  readonly downloader: LegacyCdnKeys;
  /** `undefined` for accounts that may not upload. */
  readonly uploader: LegacyCdnKeys | undefined;
}

/** A pair of S3 keys. */
export interface LegacyCdnKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret<string>;
}

const MAX_CHARS = 16 * 1024;

/**
 * Reads the flat keys of `cdn.yaml`. Values may be quoted; comments and other keys are passed over. It is no YAML parser: lists and
 * nesting are not part of the format.
 *
 * @param text - Untrusted.
 * @returns `undefined` when it is not such a file.
 */
export function parseCdnConfig(text: string): LegacyCdnConfig | undefined {
  if (text.length > MAX_CHARS) return undefined;
  const values = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const match = /^([a-z_]{1,64}):[ \t]+(?:"([^"]*)"|'([^']*)'|([^#\s][^#]*?))[ \t]*(?:#.*)?$/.exec(line);
    const value = match?.[2] ?? match?.[3] ?? match?.[4];
    if (match?.[1] !== undefined && value !== undefined) values.set(match[1], value);
  }
  const host = values.get('host') ?? '';
  const endpoint = /^https?:\/\//.test(host) ? host : `https://${host}`;
  const downloader = keysOf(values, 'downloader');
  if (host === '' || !URL.canParse(endpoint) || downloader === undefined) return undefined;
  return { endpoint, downloader, uploader: keysOf(values, 'uploader') };
}

function keysOf(values: ReadonlyMap<string, string>, who: 'downloader' | 'uploader'): LegacyCdnKeys | undefined {
  const accessKeyId = values.get(`${who}_access_key`);
  const secret = values.get(`${who}_access_secret`);
  return accessKeyId === undefined || secret === undefined || accessKeyId === '' || secret === ''
    ? undefined
    : { accessKeyId, secretAccessKey: new Secret(secret) };
}
