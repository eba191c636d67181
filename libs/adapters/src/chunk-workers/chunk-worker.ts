import { createHash, type Hash } from 'node:crypto';
import { writeSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';

import { CryptoError, identifyChunk, openChunkRun, plaintextBytesOf, sealChunk } from '@azaion/crypto/chunks';
import { releaseBytes } from '@azaion/kernel';
import type { PublishHash, SealedPlace } from '@azaion/split-resource';

import {
  type ChunkAnswer,
  type ChunkRequest,
  type OpenedRun,
  type OpenFilePlace,
  readChunksToSeal,
  readRanges,
  writeIdentities,
} from './chunk-messages.js';

/** Hashes that go on with a later request, by their number. */
const hashes = new Map<number, Hash>();

/** Entry of a worker thread: one request in, one answer out, in order. */
parentPort?.on('message', (request: ChunkRequest) => {
  const answer = answerTo(request);
  if (request.work === 'open') releaseBytes(request.bytes); // moved here: nobody else has them
  parentPort?.postMessage(answer, movedWith(answer));
});

function movedWith(answer: ChunkAnswer): ArrayBuffer[] {
  if ('identities' in answer) return [answer.identities.buffer as ArrayBuffer];
  return 'opened' in answer ? [answer.opened.plaintext.buffer as ArrayBuffer] : [];
}

function answerTo(request: ChunkRequest): ChunkAnswer {
  const { id } = request;
  try {
    switch (request.work) {
      case 'open':
        return { id, opened: openRun(request.bytes, request.chunks, request.into) };
      case 'identify': {
        const { window, domainKey } = request;
        const chunks = readRanges(request.chunks);
        const identities = chunks.map(({ start, end }) => identifyChunk(window.subarray(start, end), domainKey));
        return { id, identities: writeIdentities(identities) };
      }
      case 'seal':
        return { id, sealedLengths: sealAll(request.window, request.chunks, request.target) };
      case 'hash':
        runningHash(request.hash, request.algorithm).update(request.bytes);
        return { id, done: true };
      case 'digest': {
        const digest = new Uint8Array(runningHash(request.hash, request.algorithm).digest());
        hashes.delete(request.hash);
        return { id, digest };
      }
      case 'forget':
        hashes.delete(request.hash);
        return { id, done: true };
    }
  } catch (error) {
    if (error instanceof CryptoError) return { id, code: error.code, message: error.message };
    const crash = error instanceof Error ? error.message : 'unknown failure';
    const systemCode = (error as NodeJS.ErrnoException | undefined)?.code;
    return { id, crash, ...(systemCode === undefined ? {} : { systemCode }) };
  }
}

function runningHash(hash: number, algorithm: PublishHash): Hash {
  const running = hashes.get(hash) ?? createHash(algorithm);
  hashes.set(hash, running);
  return running;
}

/** Where runs are opened that go into a file from here: used again and again, as large as the largest of them. */
let scratch = new Uint8Array();

function scratchOf(sizeBytes: number): Uint8Array {
  if (scratch.length < sizeBytes) scratch = Buffer.allocUnsafeSlow(sizeBytes);
  return scratch;
}

/** Opens a run as one piece of plaintext, which costs the other side one message and one write; or none, when it goes into a file from here. */
function openRun(bytes: Uint8Array, chunks: readonly SealedPlace[], into: OpenFilePlace | undefined): OpenedRun {
  const sizeBytes = plaintextBytesOf(chunks);
  const target = into === undefined ? Buffer.allocUnsafeSlow(sizeBytes) : scratchOf(sizeBytes);
  const { plaintext, count, refusal } = openChunkRun(bytes, chunks, target);
  for (let written = 0; into !== undefined && written < plaintext.length;)
    written += writeSync(into.descriptor, plaintext, written, plaintext.length - written, into.position + written);
  const handedOut = into === undefined ? plaintext : new Uint8Array();
  const opened = { plaintext: handedOut, plaintextBytes: plaintext.length, count };
  return refusal === undefined ? opened : { ...opened, refusal: { code: refusal.code, message: refusal.message } };
}

function sealAll(window: Uint8Array, chunks: Uint8Array, target: Uint8Array): number[] {
  let at = 0;
  return readChunksToSeal(chunks).map(({ range, secrets }) => {
    const { length } = sealChunk(window.subarray(range.start, range.end), secrets, target.subarray(at));
    at += length;
    return length;
  });
}
