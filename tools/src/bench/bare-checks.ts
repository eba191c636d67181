import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { isMainThread, Worker, workerData } from 'node:worker_threads';

import { identifyChunk, openChunk, sealChunk } from '@azaion/crypto/chunks';
import { releaseBytes } from '@azaion/kernel';

/**
 * A process of its own: what opening so many bytes costs a machine at least. As many threads as it is told check tag and hash of chunks, which are
 * in memory; nothing is read, handed over or written.
 */
const CHUNK_BYTES = 64 * 1024;
/** Few enough to stay in the cache of a core. */
const CHUNKS = 4;

if (isMainThread) {
  const [sizeBytes, threads] = process.argv.slice(2).map(Number) as [number, number];
  const workers = Array.from(
    { length: threads },
    () => new Worker(fileURLToPath(import.meta.url), { workerData: sizeBytes / threads }),
  );
  await Promise.all(workers.map((worker) => once(worker, 'exit')));
} else {
  const domainKey = randomBytes(32);
  const chunks = Array.from({ length: CHUNKS }, () => {
    const plaintext = randomBytes(CHUNK_BYTES);
    const secrets = identifyChunk(plaintext, domainKey);
    return { secrets, sealed: sealChunk(plaintext, secrets) };
  });
  for (let leftBytes = workerData as number; leftBytes > 0;)
    for (const { sealed, secrets } of chunks) {
      releaseBytes(openChunk(sealed, secrets));
      leftBytes -= CHUNK_BYTES;
    }
}
