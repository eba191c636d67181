import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';

import { type Clock, equalBytes, fromBase64Url, toBase64Url } from '@azaion/kernel';
import type { SignedPut } from '@azaion/split-resource';

/** First part of the path of every signed URL. */
export const OBJECT_PATH_PREFIX = '/objects/';
const MAC_BYTES = 32;
const HEX_32 = /^[0-9a-f]{64}$/;

/** What a signed URL allows. */
export type ObjectPermission =
  | { readonly method: 'GET'; readonly key: string }
  | { readonly method: 'PUT'; readonly key: string; readonly content: SignedPut };

/** Signs and checks the URLs of the file store: HMAC-SHA-256 over method, key, expiry, and for a PUT length and hash. */
export class ObjectUrls {
  private readonly macKey: KeyObject;

  /** @param macKey - 32 bytes, the same on every replica. */
  constructor(
    macKey: Uint8Array,
    private readonly clock: Clock,
  ) {
    this.macKey = createSecretKey(macKey);
  }

  /** Path and query of a URL. */
  sign(permission: ObjectPermission, expiresInSeconds: number): string {
    const expires = Math.floor(this.clock.nowMs() / 1000) + expiresInSeconds;
    const query = new URLSearchParams({ expires: String(expires) });
    if (permission.method === 'PUT') {
      query.set('size', String(permission.content.sizeBytes));
      query.set('sha256', permission.content.sha256);
    }
    query.set('signature', toBase64Url(this.mac(permission, expires)));
    return `${OBJECT_PATH_PREFIX}${permission.key}?${query.toString()}`;
  }

  /**
   * What a URL allows right now.
   *
   * @param target - Path and query as received, untrusted.
   * @returns `undefined` when it allows nothing with this method: forged, expired, or of another form than {@link sign} makes.
   */
  check(method: string, target: string): ObjectPermission | undefined {
    if (!target.startsWith(OBJECT_PATH_PREFIX) || !URL.canParse(target, 'http://localhost')) return undefined;
    const [key = '', ...rest] = target.slice(OBJECT_PATH_PREFIX.length).split('?');
    const query = new URLSearchParams(rest.join('?'));
    const expires = Number(query.get('expires'));
    const signature = fromBase64Url(query.get('signature') ?? '', MAC_BYTES);
    const permission = permissionOf(method, key, query);
    if (!permission || !Number.isSafeInteger(expires) || signature?.length !== MAC_BYTES) return undefined;
    if (!equalBytes(signature, this.mac(permission, expires))) return undefined;
    return expires * 1000 > this.clock.nowMs() ? permission : undefined;
  }

  private mac(permission: ObjectPermission, expires: number): Buffer {
    const content = permission.method === 'PUT' ? permission.content : undefined;
    const signed = [
      'azaion-object-v1',
      permission.method,
      permission.key,
      String(expires),
      content === undefined ? '' : String(content.sizeBytes),
      content?.sha256 ?? '',
      '', // an MD5, once: replicas from before accept each other's URLs
    ];
    return createHmac('sha256', this.macKey).update(signed.join('\n')).digest();
  }
}

function permissionOf(method: string, key: string, query: URLSearchParams): ObjectPermission | undefined {
  if (method === 'GET') return { method, key };
  if (method !== 'PUT') return undefined;
  const sizeBytes = Number(query.get('size'));
  const sha256 = query.get('sha256') ?? '';
  return Number.isSafeInteger(sizeBytes) && sizeBytes >= 0 && HEX_32.test(sha256)
    ? { method, key, content: { sizeBytes, sha256 } }
    : undefined;
}
