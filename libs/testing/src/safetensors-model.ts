import { Readable } from 'node:stream';
import { pseudoRandomPieces } from './pseudo-random.js';

/** A generated model. The same description gives the same bytes on every machine. */
export interface GeneratedModel {
  readonly seed: string;
  /** At least 1. Their data types take turns: F32, F16, BF16, I8. */
  readonly tensorCount: number;
  /** Of each tensor; a multiple of 64, so that all of them are aligned. */
  readonly tensorBytes: number;
  /** Tensors with other contents than the seed says: a newer version of the model. */
  readonly retrained?: { readonly seed: string; readonly tensors: readonly number[] };
}

const DATA_TYPES = [
  { name: 'F32', sizeBytes: 4 },
  { name: 'F16', sizeBytes: 2 },
  { name: 'BF16', sizeBytes: 2 },
  { name: 'I8', sizeBytes: 1 },
] as const;
const HEADER_ALIGNMENT_BYTES = 64;

/**
 * A file in the safetensors format: the length of the header (8 bytes, little endian), the header as JSON, padded with
 * spaces, then the tensors. Their values are random; models in use compress a little better.
 */
export function safetensorsModel(model: GeneratedModel): Readable {
  return Readable.from(pieces(model), { objectMode: false });
}

/** The size of `safetensorsModel` in bytes. */
export function safetensorsModelBytes(model: GeneratedModel): number {
  return header(model).length + model.tensorCount * model.tensorBytes;
}

function* pieces(model: GeneratedModel): Generator<Buffer> {
  yield header(model);
  const retrained = new Set(model.retrained?.tensors);
  for (let index = 0; index < model.tensorCount; index += 1) {
    const seed = retrained.has(index) ? `${model.seed}+${model.retrained?.seed ?? ''}` : model.seed;
    yield* pseudoRandomPieces(`${seed}/tensor-${index}`, model.tensorBytes);
  }
}

function header(model: GeneratedModel): Buffer {
  if (model.tensorBytes % HEADER_ALIGNMENT_BYTES !== 0) {
    throw new RangeError(`tensorBytes must be a multiple of ${HEADER_ALIGNMENT_BYTES}, not ${model.tensorBytes}.`);
  }
  const tensors = Array.from({ length: model.tensorCount }, (_, index) => {
    const type = DATA_TYPES[index % DATA_TYPES.length]!;
    const start = index * model.tensorBytes;
    const description = {
      dtype: type.name,
      shape: [model.tensorBytes / 64, 64 / type.sizeBytes],
      data_offsets: [start, start + model.tensorBytes],
    };
    return [`layers.${index}.weight`, description] as const;
  });
  const json = JSON.stringify({ __metadata__: { format: 'pt' }, ...Object.fromEntries(tensors) });
  const padded = json.padEnd(Math.ceil((json.length + 8) / HEADER_ALIGNMENT_BYTES) * HEADER_ALIGNMENT_BYTES - 8);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, Buffer.from(padded)]);
}
