import type { StatementImage } from '@azaion/crypto';

import { UnlockError } from './errors.js';
import { canonicalReference, type ExpectedImage, hasExpectedId } from './expected-image.js';
import type { EngineImage } from './ports/image-runtime.js';

/**
 * Checks that an archive holds what is expected and nothing else.
 *
 * @param inArchive - Digests computed from the archive's own bytes.
 * @throws UnlockError `unlock.image-unsigned` | `unlock.image-mismatch` | `unlock.image-missing`, naming the reference.
 */
export function assertArchiveExpected(inArchive: readonly StatementImage[], expected: readonly ExpectedImage[]): void {
  for (const image of inArchive) {
    const match = named(expected, image.reference);
    if (match === undefined) throw unsigned(image.reference);
    const sameManifest =
      match.manifestDigest === null || image.manifestDigest === null || match.manifestDigest === image.manifestDigest;
    if ((match.configDigest !== null && match.configDigest !== image.configDigest) || !sameManifest)
      throw mismatch(image.reference);
  }
  for (const image of expected) {
    if (named(inArchive, image.reference) === undefined) throw missing(image.reference);
  }
}

/**
 * The expected images that an engine does not hold as expected.
 *
 * @param proven - What this very archive is known to have left in the engine. Where no digest is known, its ids count; a tag alone counts
 *   only when it names a version: `latest` proves nothing.
 */
export function notAsExpected(
  inEngine: readonly EngineImage[],
  expected: readonly ExpectedImage[],
  proven: readonly EngineImage[],
): readonly ExpectedImage[] {
  return expected.filter((image) => {
    const found = named(inEngine, image.reference);
    if (found === undefined) return true;
    if (image.configDigest !== null) return !hasExpectedId(image, found.imageId);
    const proof = named(proven, image.reference);
    return proof === undefined ? isLatest(image.reference) : proof.imageId !== found.imageId;
  });
}

/** What an engine loaded although nobody signed for it. */
export function notSignedFor(
  loaded: readonly EngineImage[],
  expected: readonly ExpectedImage[],
): readonly EngineImage[] {
  return loaded.filter((image) => named(expected, image.reference) === undefined);
}

/** The error for an image that nobody signed for. */
export function unsigned(reference: string): UnlockError {
  return new UnlockError(
    'unlock.image-unsigned',
    'The archive holds an image that nobody signed for: it was refused. Publish the archive anew from a trusted machine.',
    { details: { reference } },
  );
}

/** The error for an image that is not the one that was signed. */
export function mismatch(reference: string): UnlockError {
  return new UnlockError(
    'unlock.image-mismatch',
    'An image is not the one that was signed for: it was refused. Publish the archive anew from a trusted machine.',
    { details: { reference } },
  );
}

function isLatest(reference: string): boolean {
  return canonicalReference(reference).endsWith(':latest');
}

function missing(reference: string): UnlockError {
  return new UnlockError(
    'unlock.image-missing',
    'The archive lacks an image that it was signed for. Publish the archive anew.',
    { details: { reference } },
  );
}

function named<T extends { readonly reference: string }>(images: readonly T[], reference: string): T | undefined {
  const name = canonicalReference(reference);
  return images.find((image) => canonicalReference(image.reference) === name);
}
