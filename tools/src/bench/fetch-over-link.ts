import { createWriteStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';

import { HttpPackSource } from '@azaion/adapters/http-packs';
import type { ByteRange } from '@azaion/kernel';
import { type PackLocation, PackSource } from '@azaion/split-resource';

import { openLocally } from './local-opener.js';

/** A process of its own: fetches and opens a resource into a file, everything through one address. */
const { values } = parseArgs({
  options: {
    link: { type: 'string', default: '' },
    token: { type: 'string', default: '' },
    work: { type: 'string', default: '' },
    resource: { type: 'string', default: '' },
    output: { type: 'string', default: '' },
    threads: { type: 'string', default: '2' },
  },
});

/** Packs from the address of the link instead of the one that was signed: the file store signs paths. */
class PacksOverLink extends PackSource {
  private readonly behind = new HttpPackSource();

  override open(location: PackLocation, range: ByteRange, deadlineMs: number, signal?: AbortSignal): Promise<Readable> {
    const { pathname, search } = new URL(location.url ?? '');
    return this.behind.open({ ...location, url: `${values.link}${pathname}${search}` }, range, deadlineMs, signal);
  }

  close(): Promise<void> {
    return this.behind.close();
  }
}

const packs = new PacksOverLink();
const { opened, close } = await openLocally({
  apiUrl: values.link,
  token: values.token,
  workDirectory: values.work,
  resource: values.resource,
  threads: Number(values.threads),
  sources: [packs],
});
await pipeline(opened.read(), createWriteStream(values.output, { highWaterMark: 4 * 1024 * 1024 }));
await packs.close();
await close();
