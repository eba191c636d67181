import { CHUNK_ID_BYTES, CHUNK_OVERHEAD_BYTES } from '@azaion/crypto';
import { toHex } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import { MAX_CHUNKS_PER_PACK, MAX_PACK_BYTES } from '../pack.js';
import type { PackedChunk } from '../ports/upload-api.js';

/** `chunkId(16) offset(u32 BE) sealedLength(u32 BE)`. */
const RECORD_BYTES = CHUNK_ID_BYTES + 8;
/** Longest chunk table. */
export const MAX_CHUNK_TABLE_BYTES = MAX_CHUNKS_PER_PACK * RECORD_BYTES;

/** The chunk table of a pack as it is sent. Source: docs/reference/sealed-wire.md, "Publish". */
export function encodeChunkTable(chunks: readonly PackedChunk[]): Buffer {
  const table = Buffer.alloc(chunks.length * RECORD_BYTES);
  chunks.forEach(({ id, offset, sealedBytes }, index) => {
    const at = index * RECORD_BYTES;
    table.set(id, at);
    table.writeUInt32BE(offset, at + CHUNK_ID_BYTES);
    table.writeUInt32BE(sealedBytes, at + CHUNK_ID_BYTES + 4);
  });
  return table;
}

/**
 * Reads a chunk table: which chunks lie where in a pack, in order, none over another and none twice.
 *
 * @param table - Untrusted; its ids are views of it.
 * @param packBytes - Announced size of the pack.
 * @throws ResourceError `upload.refused`.
 */
export function parseChunkTable(table: Buffer, packBytes: number): readonly PackedChunk[] {
  if (table.length === 0 || table.length > MAX_CHUNK_TABLE_BYTES || table.length % RECORD_BYTES !== 0)
    throw refused('The chunk table has a bad length.');
  const chunks: PackedChunk[] = [];
  const ids = new Set<string>();
  let end = 0;
  for (let at = 0; at < table.length; at += RECORD_BYTES) {
    const id = table.subarray(at, at + CHUNK_ID_BYTES);
    const offset = table.readUInt32BE(at + CHUNK_ID_BYTES);
    const sealedBytes = table.readUInt32BE(at + CHUNK_ID_BYTES + 4);
    if (
      offset < end ||
      sealedBytes <= CHUNK_OVERHEAD_BYTES ||
      offset + sealedBytes > Math.min(packBytes, MAX_PACK_BYTES)
    )
      throw refused('The chunk table has entries that overlap or lie outside of the pack.');
    end = offset + sealedBytes;
    ids.add(toHex(id));
    chunks.push({ id, offset, sealedBytes });
  }
  if (ids.size !== chunks.length) throw refused('The chunk table names a chunk twice.');
  return chunks;
}

function refused(message: string): ResourceError {
  return new ResourceError('upload.refused', message);
}
