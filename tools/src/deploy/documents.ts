import { readFileSync } from 'node:fs';

import { parse, parseAllDocuments } from 'yaml';

/**
 * The documents in YAML text, in order.
 *
 * @throws Error for text that is no YAML, and for a key that is written twice.
 */
export function documentsIn(text: string): unknown[] {
  return parseAllDocuments(text).map((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    return document.toJS() as unknown;
  });
}

/** The one document in a YAML file. @throws as {@link documentsIn}; Error of the file system. */
export function documentOf(path: string): unknown {
  return parse(readFileSync(path, 'utf8'));
}
