import { randomUUID } from 'node:crypto';

import type { Statement } from '../statement.js';

/** A statement about some file of ten bytes for every device. @param more - What is to be otherwise. */
export function aStatement(more: Partial<Statement> = {}): Statement {
  return {
    folderId: randomUUID(),
    folder: 'models',
    resourceId: randomUUID(),
    resource: 'detector.onnx',
    version: 7,
    kind: 'file',
    totalBytes: 10,
    rootHash: 'ab'.repeat(32),
    publisher: randomUUID(),
    committedAt: 1,
    scope: 'fleet',
    ...more,
  };
}
