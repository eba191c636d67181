import { canonicalReference, type ExpectedImage, UnlockError } from '@azaion/unlock';

const MAX_CHARS = 256 * 1024;
const MAX_IMAGES = 256;
const LINE = /^([A-Za-z0-9][A-Za-z0-9._:/-]{0,511})\s+(sha256:[0-9a-f]{64})$/;

/**
 * Parses a list of the images that a legacy archive may hold: a reference and the digest of its configuration, which docker
 * calls the image's id, on each line; `#` starts a comment line.
 *
 * @throws UnlockError `unlock.allow-list-invalid`, naming the line.
 */
export function parseAllowList(text: string): readonly ExpectedImage[] {
  if (text.length > MAX_CHARS) throw invalid('it is too long');
  const images = new Map<string, ExpectedImage>();
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const [, reference = '', configDigest = ''] = LINE.exec(line) ?? [];
    if (reference === '') throw invalid(`line ${index + 1} is not "reference sha256:…"`);
    const name = canonicalReference(reference);
    if (images.has(name)) throw invalid(`line ${index + 1} names an image again`);
    images.set(name, { reference: name, configDigest, manifestDigest: null });
  }
  if (images.size === 0) throw invalid('it names no image');
  if (images.size > MAX_IMAGES) throw invalid('it names too many images');
  return [...images.values()];
}

function invalid(why: string): UnlockError {
  return new UnlockError('unlock.allow-list-invalid', `The list of allowed images cannot be used: ${why}.`);
}
