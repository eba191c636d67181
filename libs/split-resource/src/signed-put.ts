import { toHex } from '@azaion/kernel';

import { ResourceError } from './errors.js';
import type { ObjectStore, SignedPut } from './ports/object-store.js';
import type { NewPack } from './ports/upload-api.js';

/**
 * What a store is to sign for a pack that was announced. An MD5 that the store does not need is not looked at.
 *
 * @param pack - Untrusted, checked for form.
 * @throws ResourceError `upload.refused` when the store needs an MD5 and there is none.
 */
export function signedPutOf(pack: NewPack, { needsMd5 }: Pick<ObjectStore, 'needsMd5'>): SignedPut {
  const content = { sizeBytes: pack.sizeBytes, sha256: toHex(pack.sha256) };
  if (!needsMd5) return content;
  if (pack.md5 === undefined)
    throw new ResourceError('upload.refused', 'The object store checks packs by their MD5: announce this one with it.');
  return { ...content, md5: Buffer.from(pack.md5).toString('base64') };
}
