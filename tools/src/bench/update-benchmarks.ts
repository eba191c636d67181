import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';

import { pseudoRandomBytes, safetensorsModel } from '@azaion/testing';

import { type Measurement } from './bench-result.js';
import { type BenchSystem, startBenchSystem } from './bench-system.js';

const TENSORS = 100;
const TENSOR_BYTES = 10_000_000;
const INSERTED_BYTES = 1000;

/** P7: what an update of a 1 GB model moves: a tenth of the tensors retrained, and 1000 bytes inserted. */
export async function updateBenchmarks(): Promise<readonly Measurement[]> {
  const bench = await startBenchSystem();
  try {
    const shape = { seed: 'model', tensorCount: TENSORS, tensorBytes: TENSOR_BYTES };
    const tensors = Array.from({ length: TENSORS / 10 }, (_, index) => index * 10);
    const model = await buffer(safetensorsModel(shape));
    const updated = await buffer(safetensorsModel({ ...shape, retrained: { seed: 'next', tensors } }));
    const middle = Math.floor(model.length / 2);
    const inserted = Buffer.concat([
      model.subarray(0, middle),
      pseudoRandomBytes('inserted', INSERTED_BYTES),
      model.subarray(middle),
    ]);
    await publish(bench, model);
    const changedBytes = tensors.length * TENSOR_BYTES;
    const retraining = await publish(bench, updated);
    await publish(bench, model);
    const insertion = await publish(bench, inserted);
    return [
      {
        id: 'P7',
        bar: '10 % of the tensors changed: packs ≤ 1.3 × the changed bytes',
        value: retraining.uploadedBytes / changedBytes,
        unit: '× changed bytes',
        limit: 1.3,
        direction: 'max',
        peers: { 'changed bytes': changedBytes, 'pack bytes': retraining.uploadedBytes },
      },
      {
        id: 'P7',
        bar: '1000 bytes inserted: packs ≤ 0.5 % of the file',
        value: (insertion.uploadedBytes * 100) / inserted.length,
        unit: '% of the file',
        limit: 0.5,
        direction: 'max',
        peers: { 'file bytes': inserted.length, 'pack bytes': insertion.uploadedBytes },
      },
      {
        id: 'P7',
        bar: 'recipe ≤ 0.12 % of the file',
        value: (retraining.recipeBytes * 100) / updated.length,
        unit: '% of the file',
        limit: 0.12,
        direction: 'max',
        peers: { 'recipe bytes': retraining.recipeBytes },
      },
    ];
  } finally {
    await bench.stop();
  }
}

async function publish(bench: BenchSystem, content: Buffer): Promise<{ uploadedBytes: number; recipeBytes: number }> {
  const path = join(bench.directory.path, 'model.safetensors');
  await writeFile(path, content);
  const { uploadedBytes = NaN, recipeBytes = NaN } = await bench.azaion('publish', path);
  return { uploadedBytes, recipeBytes };
}
