import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

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

/** Every YAML file below a directory. */
export function yamlFilesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.ya?ml$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}
