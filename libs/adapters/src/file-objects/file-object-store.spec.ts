import { hash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ManualClock, SystemClock, type Clock } from '@azaion/kernel';
import { describeObjectStore } from '@azaion/split-resource/testing';
import { describeWith, smallDisk } from '@azaion/testing';

import { HttpPackSink, HttpPackSource } from '../http-packs/index.js';
import { FileObjectStore } from './file-object-store.js';

interface Served {
  readonly store: FileObjectStore;
  readonly directory: string;
  readonly close: () => Promise<void>;
}

async function served(clock: Clock = new SystemClock(), at?: string): Promise<Served> {
  const directory = at ?? (await mkdtemp(join(tmpdir(), 'file-objects-')));
  let url = '';
  const store = new FileObjectStore({ directory, publicUrl: () => url, macKey: randomBytes(32), clock });
  const server = createServer((request, response) => void store.server.handle(request, response));
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    store,
    directory,
    close: async () => {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
      if (at === undefined) await rm(directory, { recursive: true, force: true });
    },
  };
}

describeObjectStore('FileObjectStore', async () => {
  const { store, close } = await served();
  const sink = new HttpPackSink();
  const source = new HttpPackSource();
  return {
    store,
    sink,
    source,
    close: async () => {
      await sink.close();
      await source.close();
      await close();
    },
  };
});

describe('FileObjectStore over HTTP', () => {
  const KEY = 'packs/folder/0123';
  const bytes = randomBytes(1000);
  const content = {
    sizeBytes: bytes.length,
    sha256: hash('sha256', bytes, 'hex'),
  };
  const clock = new ManualClock(Date.UTC(2026, 0, 1));
  let running: Served;

  const put = async (url: string, body: Uint8Array, headers: Record<string, string>): Promise<number> =>
    (await fetch(url, { method: 'PUT', body: new Uint8Array(body), headers })).status;

  beforeAll(async () => {
    running = await served(clock);
    const { url, headers } = await running.store.signPut(KEY, content, 60);
    expect(await put(url, bytes, headers)).toBe(200);
  });
  afterAll(() => running.close());

  it.each([
    ['bytes=0-0', 206, 0, 1],
    ['bytes=0-', 206, 0, 1000],
    ['bytes=999-', 206, 999, 1000],
    ['bytes=-1', 206, 999, 1000],
    ['bytes=-5000', 206, 0, 1000],
    ['bytes=10-5000', 206, 10, 1000],
    [undefined, 200, 0, 1000],
  ])('answers Range %s with %i', async (range, status, start, end) => {
    const url = await running.store.signGet(KEY, 60);
    const answer = await fetch(url, { headers: range === undefined ? {} : { range } });
    expect(answer.status).toBe(status);
    expect(Buffer.from(await answer.arrayBuffer()).equals(bytes.subarray(start, end))).toBe(true);
  });

  it.each(['bytes=1000-', 'bytes=5-4', 'bytes=-0', 'bytes=-', 'bytes=0-1,3-4', 'bytes=a-b', 'items=0-1'])(
    'answers Range %s with 416',
    async (range) => {
      const answer = await fetch(await running.store.signGet(KEY, 60), { headers: { range } });
      expect(answer.status).toBe(416);
      expect(answer.headers.get('content-range')).toBe('bytes */1000');
    },
  );

  it('refuses a URL from the second on in which it expires', async () => {
    const url = await running.store.signGet(KEY, 60);
    clock.advance(59_999);
    expect((await fetch(url)).status).toBe(200);
    clock.advance(1);
    expect((await fetch(url)).status).toBe(403);
  });

  it('refuses every change of a signed URL', async () => {
    const get = await running.store.signGet(KEY, 60);
    const { url, headers } = await running.store.signPut('packs/folder/4567', content, 60);
    const other = hash('sha256', 'other', 'hex');
    const changed = [
      ...[
        get.replace('0123', '0124'),
        get.replace(/expires=\d+/, 'expires=9999999999'),
        get.replace(/signature=./, (start) => (start.endsWith('_') ? 'signature=-' : 'signature=_')),
      ],
      get.replace(/&signature=.*/, ''),
      get.split('?')[0] ?? '',
    ];
    expect(changed).not.toContain(get);
    for (const each of changed) expect((await fetch(each)).status).toBe(403);
    for (const each of [url.replace('size=1000', 'size=999'), url.replace(content.sha256, other)])
      expect(await put(each, bytes, headers)).toBe(403);
    expect(await put(get, bytes, headers)).toBe(403); // a permission to read is none to write
    expect((await fetch(url)).status).toBe(403);
    expect(await running.store.head('packs/folder/4567')).toBeUndefined();
  });

  it('keeps nothing of a refused or interrupted PUT', async () => {
    const { url, headers } = await running.store.signPut('packs/folder/89ab', content, 60);
    expect(await put(url, randomBytes(1000), headers)).toBe(400);
    const interrupted = new ReadableStream({
      pull: (controller) => {
        controller.enqueue(bytes.subarray(0, 10));
        controller.error(new Error('cut'));
      },
    });
    await expect(fetch(url, { method: 'PUT', body: interrupted, headers, duplex: 'half' })).rejects.toThrow();
    expect(await running.store.head('packs/folder/89ab')).toBeUndefined();
    // The server notices the cut after the client does.
    const incoming = join(running.directory, '.incoming');
    while ((await readdir(incoming)).length > 0) await new Promise((next) => setImmediate(next));
  });

  it('removes what was left of a PUT more than a day ago by a process that died, and nothing younger', async () => {
    const own = await served(clock);
    try {
      const incoming = join(own.directory, '.incoming');
      await mkdir(incoming, { recursive: true });
      for (const [name, hours] of [
        ['old', 25],
        ['young', 23],
      ] as const) {
        await writeFile(join(incoming, name), 'half');
        const then = new Date(Date.now() - hours * 3_600_000);
        await utimes(join(incoming, name), then, then);
      }
      const { url, headers } = await own.store.signPut(KEY, content, 60);
      expect(await put(url, bytes, headers)).toBe(200);
      expect(await readdir(incoming)).toEqual(['young']);
    } finally {
      await own.close();
    }
  });

  it('lets one of many writers at once create an object', async () => {
    const { url, headers } = await running.store.signPut('packs/folder/cdef', content, 60);
    const statuses = await Promise.all(Array.from({ length: 8 }, () => put(url, bytes, headers)));
    expect(statuses.sort()).toEqual([200, ...Array.from({ length: 7 }, () => 412)]);
  });

  it.each([
    '../secret',
    'packs/../../secret',
    '/etc/passwd',
    'packs//x',
    '.incoming/x',
    'a/.hidden',
    '',
    'packs/a\0b',
    'a\\b',
  ])('never leaves its directory for the key %j', async (key) => {
    await expect(running.store.signGet(key, 60)).rejects.toMatchObject({ code: 'pack.not-found' });
    await expect(running.store.signPut(key, content, 60)).rejects.toMatchObject({ code: 'pack.not-found' });
    await expect(running.store.read(key, { start: 0, end: 1 })).rejects.toMatchObject({ code: 'pack.not-found' });
    expect(await running.store.head(key)).toBeUndefined();
  });
});

describeWith('disk', 'FileObjectStore on a full disk', () => {
  it('answers 507, and keeps nothing of what it could not write', async () => {
    const disk = await smallDisk(1024 * 1024);
    const running = await served(new SystemClock(), disk.path);
    try {
      const bytes = randomBytes(3 * 1024 * 1024);
      const content = {
        sizeBytes: bytes.length,
        sha256: hash('sha256', bytes, 'hex'),
      };
      const { url, headers } = await running.store.signPut('packs/folder/0123', content, 60);
      expect((await fetch(url, { method: 'PUT', body: new Uint8Array(bytes), headers })).status).toBe(507);
      expect(await readdir(join(disk.path, '.incoming'))).toEqual([]);
      expect(await running.store.head('packs/folder/0123')).toBeUndefined();
    } finally {
      await running.close();
      await disk.remove();
    }
  });
});
