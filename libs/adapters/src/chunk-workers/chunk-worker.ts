import { hash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';

import { CryptoError, identifyChunk, openChunk, sealChunk } from '@azaion/crypto/chunks';
import { releaseBytes } from '@azaion/kernel';
import { type SealedPlace } from '@azaion/split-resource';

import { type ChunkAnswer, type ChunkRequest, type DigestedBytes, type OpenedRun } from './chunk-messages.js';

/** Entry of a worker thread: one request in, one answer out, in order. */
parentPort?.on('message', (request: ChunkRequest) => {
  const answer = answerTo(request);
  if (!('digested' in answer)) releaseBytes(request.bytes); // moved here: nobody else has them
  parentPort?.postMessage(answer, movedWith(answer));
});

function movedWith(answer: ChunkAnswer): ArrayBuffer[] {
  if ('bytes' in answer) return [answer.bytes.buffer as ArrayBuffer];
  if ('digested' in answer) return [answer.digested.bytes.buffer as ArrayBuffer];
  return 'opened' in answer ? [answer.opened.plaintext.buffer as ArrayBuffer] : [];
}

function answerTo(request: ChunkRequest): ChunkAnswer {
  const { id } = request;
  try {
    switch (request.work) {
      case 'open':
        return { id, opened: openRun(request.bytes, request.chunks) };
      case 'seal':
        return { id, bytes: movable(sealChunk(request.bytes, request.secrets)) };
      case 'digest':
        return { id, digested: digestOf(request.bytes, request.sizeBytes) };
      case 'identify':
        return { id, identity: identifyChunk(request.bytes, request.domainKey) };
    }
  } catch (error) {
    if (error instanceof CryptoError) return { id, code: error.code, message: error.message };
    return { id, crash: error instanceof Error ? error.message : 'unknown failure' };
  }
}

/** Opens chunk after chunk into one piece of memory, which costs the other side one message and one write. */
function openRun(bytes: Uint8Array, chunks: readonly SealedPlace[]): OpenedRun {
  const plaintext = new Uint8Array(chunks.reduce((sizeBytes, { secrets }) => sizeBytes + secrets.plaintextBytes, 0));
  let openedBytes = 0;
  for (const [count, { at, sealedBytes, secrets }] of chunks.entries()) {
    try {
      const opened = openChunk(bytes.subarray(at, at + sealedBytes), secrets);
      plaintext.set(opened, openedBytes);
      openedBytes += opened.length;
      releaseBytes(opened);
    } catch (error) {
      if (!(error instanceof CryptoError)) throw error;
      const { code, message } = error;
      return { plaintext: plaintext.slice(0, openedBytes), count, refusal: { code, message } };
    }
  }
  return { plaintext, count: chunks.length };
}

function digestOf(bytes: Uint8Array, sizeBytes: number): DigestedBytes {
  const content = bytes.subarray(0, sizeBytes);
  return { bytes, sha256: hash('sha256', content, 'buffer'), md5: hash('md5', content, 'buffer') };
}

/** Bytes with a buffer of their own: small results may lie in Node's shared pool, which must not be moved away. */
function movable(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes);
}
