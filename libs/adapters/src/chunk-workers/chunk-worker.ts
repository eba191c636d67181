import { parentPort } from 'node:worker_threads';

import { CryptoError, identifyChunk, openChunk, sealChunk } from '@azaion/crypto/chunks';
import { releaseBytes } from '@azaion/kernel';

import { type ChunkAnswer, type ChunkRequest } from './chunk-messages.js';

/** Entry of a worker thread: one request in, one answer out, in order. */
parentPort?.on('message', (request: ChunkRequest) => {
  const answer = answerTo(request);
  releaseBytes(request.bytes); // moved here: nobody else has them
  parentPort?.postMessage(answer, 'bytes' in answer ? [answer.bytes.buffer as ArrayBuffer] : []);
});

function answerTo(request: ChunkRequest): ChunkAnswer {
  const { id } = request;
  try {
    switch (request.work) {
      case 'open':
        return { id, bytes: movable(openChunk(request.bytes, request.secrets)) };
      case 'seal':
        return { id, bytes: movable(sealChunk(request.bytes, request.secrets)) };
      case 'identify':
        return { id, identity: identifyChunk(request.bytes, request.domainKey) };
    }
  } catch (error) {
    if (error instanceof CryptoError) return { id, code: error.code, message: error.message };
    return { id, crash: error instanceof Error ? error.message : 'unknown failure' };
  }
}

/** Bytes with a buffer of their own: small results may lie in Node's shared pool, which must not be moved away. */
function movable(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes);
}
