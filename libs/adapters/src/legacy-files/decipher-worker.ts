import { readSync, writeSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';

import { legacyBlockDecipher } from '@azaion/crypto/legacy-cipher';
import { releaseBytes } from '@azaion/kernel';

import {
  type CiphertextFile,
  type DecipherAnswer,
  type DecipherJob,
  DONE_SLICES,
  NEXT_SLICE,
  SLICE_BYTES,
  STOPPED,
} from './decipher-messages.js';

const BLOCK_BYTES = 16;
/** What is read, decrypted and written in one go: it stays in the processor's cache from the one to the other. */
const PIECE_BYTES = 128 * 1024;

class MissingBytesError extends Error {}

parentPort?.postMessage(outcomeOf(workerData as DecipherJob));

function outcomeOf(job: DecipherJob): DecipherAnswer {
  try {
    decipherSlices(job);
    return { outcome: 'done' };
  } catch (error) {
    Atomics.store(job.counters, STOPPED, 1); // what others still do is of no use
    if (error instanceof MissingBytesError) return { outcome: 'missing' };
    const { message, code } = error as NodeJS.ErrnoException;
    return { outcome: 'failed', message, systemCode: code };
  }
}

/** CBC chains each block to the ciphertext before it, never to plaintext: every slice can be decrypted by itself. */
function decipherSlices({ aesKey, files, descriptor, totalBytes, counters }: DecipherJob): void {
  const memory = Buffer.allocUnsafeSlow(PIECE_BYTES);
  while (Atomics.load(counters, STOPPED) === 0) {
    const start = Atomics.add(counters, NEXT_SLICE, 1) * SLICE_BYTES;
    if (start >= totalBytes) return;
    const end = Math.min(start + SLICE_BYTES, totalBytes);
    const preceding = memory.subarray(0, BLOCK_BYTES);
    readAt(files, preceding, start);
    const decipher = legacyBlockDecipher(aesKey, preceding);
    for (let at = start; at < end; at += PIECE_BYTES) {
      const plaintextBytes = Math.min(PIECE_BYTES, end - at);
      const blocks = memory.subarray(0, Math.ceil(plaintextBytes / BLOCK_BYTES) * BLOCK_BYTES);
      readAt(files, blocks, BLOCK_BYTES + at); // the IV stands in front
      const plaintext = decipher(blocks);
      writeAt(descriptor, plaintext.subarray(0, plaintextBytes), at);
      releaseBytes(plaintext);
    }
    Atomics.add(counters, DONE_SLICES, 1);
  }
}

/** Fills the target from a place in all files together. */
function readAt(files: readonly CiphertextFile[], target: Uint8Array, position: number): void {
  let filled = 0;
  let fileStart = 0;
  for (const { descriptor, sizeBytes } of files) {
    const fileEnd = fileStart + sizeBytes;
    while (filled < target.length && position + filled < fileEnd) {
      const wanted = Math.min(target.length - filled, fileEnd - position - filled);
      const read = readSync(descriptor, target, filled, wanted, position + filled - fileStart);
      if (read === 0) throw new MissingBytesError();
      filled += read;
    }
    fileStart = fileEnd;
  }
  if (filled < target.length) throw new MissingBytesError();
}

function writeAt(descriptor: number, bytes: Uint8Array, position: number): void {
  for (let written = 0; written < bytes.length;)
    written += writeSync(descriptor, bytes, written, bytes.length - written, position + written);
}
