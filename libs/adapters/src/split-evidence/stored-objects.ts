import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';

import type { StoredBytes } from '@azaion/split-resource/adversary';

import type { S3ClientOptions } from '../s3/index.js';

/** Everything that lies in the store that stands for the CDN, as somebody who has got hold of all of it reads it. */
export interface StoredObjects {
  /** Every object, one after another: there may be more than fits into memory. */
  all(): AsyncIterable<StoredBytes>;
  /** One object. @throws Error of the store. */
  read(key: string): Promise<Buffer>;
}

/** The Admin API's own file store. @param root - Its directory. */
export function directoryObjects(root: string): StoredObjects {
  return {
    async *all() {
      const entries = await readdir(root, { recursive: true, withFileTypes: true });
      for (const entry of entries) {
        if (!entry.isFile()) continue;
        const path = join(entry.parentPath, entry.name);
        yield { where: relative(root, path), bytes: await readFile(path) };
      }
    },
    read: (key) => readFile(join(root, key)),
  };
}

/** A bucket. @param endpoint - `undefined` for AWS. */
export async function s3Objects(
  options: S3ClientOptions,
  endpoint: string | undefined,
  bucket: string,
): Promise<StoredObjects & { close(): void }> {
  // Large, and of use to those alone whose objects lie there.
  const [{ GetObjectCommand, paginateListObjectsV2 }, { s3Client }] = await Promise.all([
    import('@aws-sdk/client-s3'),
    import('../s3/index.js'),
  ]);
  const client = s3Client(options, endpoint);
  const read = async (key: string): Promise<Buffer> => {
    const { Body: body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
    if (body === undefined) throw new Error(`The bucket answers without the object ${key}.`);
    return Buffer.from(await body.transformToByteArray());
  };
  return {
    async *all() {
      for await (const { Contents: contents = [] } of paginateListObjectsV2({ client }, { Bucket: bucket }))
        for (const { Key: key } of contents) if (key !== undefined) yield { where: key, bytes: await read(key) };
    },
    read,
    close: () => client.destroy(),
  };
}
