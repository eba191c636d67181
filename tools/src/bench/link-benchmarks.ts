import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

import { ApiClient, fixedToken, HttpGrantApi } from '@azaion/adapters/resource-api';
import { ephemeralRecipient } from '@azaion/crypto';
import { resourceName, toBase64Url } from '@azaion/kernel';
import { pseudoRandomStream, startTcpProxy } from '@azaion/testing';

import { type Measurement, median, rounded } from './bench-result.js';
import { type BenchSystem, compiled, startBenchSystem } from './bench-system.js';
import { timeProcess } from './timed-process.js';

const RESOURCE_BYTES = 256 * 1024 * 1024;
const ROUNDS = 5;
/** One way: 50 ms for a round trip. */
const DELAY_MS = 25;
/** What one connection brings on such a link. */
const BYTES_PER_SECOND = 1024 * 1024;

/** P5: fetches and opens over a link with 50 ms round trip and a cap for each connection, beside a plain parallel download of the same packs. */
export async function linkBenchmarks(): Promise<readonly Measurement[]> {
  const bench = await startBenchSystem();
  const admin = new URL(bench.system.adminUrl);
  const proxy = await startTcpProxy(
    { port: Number(admin.port) },
    { delayMs: DELAY_MS, bytesPerSecond: BYTES_PER_SECOND },
  );
  const link = `http://${proxy.host}:${proxy.port}`;
  try {
    const plain = join(bench.directory.path, 'plain.bin');
    await pipeline(pseudoRandomStream('link', RESOURCE_BYTES), createWriteStream(plain));
    await bench.publish(plain, 'link.bin');
    const [ours, theirs]: [number[], number[]] = [[], []];
    for (let round = 0; round < ROUNDS; round++) {
      ours.push(await timeProcess(await fetchCommand(bench, link)));
      theirs.push(await timeProcess(await plainCommand(bench, link)));
    }
    const ratio = median(theirs) / median(ours);
    return [
      {
        id: 'P5',
        bar: 'fetch at ≥ 0.9 × the speed of a plain parallel download',
        value: ratio,
        unit: '× its speed',
        limit: 0.9,
        direction: 'min',
        peers: { 'ours, seconds': rounded(median(ours)), 'plain download, seconds': rounded(median(theirs)) },
      },
    ];
  } finally {
    await proxy.stop();
    await bench.stop();
  }
}

/** With nothing of earlier rounds on the disk. */
async function fetchCommand(bench: BenchSystem, link: string): Promise<{ command: string; args: readonly string[] }> {
  const work = join(bench.directory.path, 'work');
  await rm(work, { recursive: true, force: true });
  const where = ['--link', link, '--work', work, '--output', join(bench.directory.path, 'out')];
  const args = [compiled('fetch-over-link'), ...where, '--token', await bench.token(), '--resource', 'models/link.bin'];
  return { command: process.execPath, args };
}

async function plainCommand(bench: BenchSystem, link: string): Promise<{ command: string; args: readonly string[] }> {
  const client = new ApiClient({ baseUrl: bench.system.adminUrl });
  const { point } = await ephemeralRecipient();
  const { urls } = await new HttpGrantApi(client, fixedToken(await bench.token())).grant({
    resource: resourceName('models', 'link.bin'),
    version: undefined,
    recipientPoint: point,
    nonce: toBase64Url(randomBytes(32)),
  });
  await client.close();
  const packs = await Promise.all(
    urls.map(async ({ url }) => {
      const { pathname, search } = new URL(url);
      const { size } = await stat(join(bench.packsDirectory, pathname.slice(pathname.indexOf('/packs/') + 1)));
      return [`${link}${pathname}${search}`, size] as const;
    }),
  );
  const output = join(bench.directory.path, 'out');
  return {
    command: process.execPath,
    args: [compiled('plain-download'), '--output', output, '--packs', JSON.stringify(packs)],
  };
}
