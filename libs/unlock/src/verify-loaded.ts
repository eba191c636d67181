import { UnlockError } from './errors.js';
import { canonicalReference, type ExpectedImage } from './expected-image.js';
import { mismatch, notAsExpected, notSignedFor, unsigned } from './image-checks.js';
import type { EngineImage, ImageAssignment } from './ports/image-runtime.js';
import type { WatchedEngine } from './watched-engine.js';

/** What a load is held against. */
export interface LoadVerification {
  readonly expected: readonly ExpectedImage[];
  /** What the expected references meant before the load. */
  readonly before: readonly EngineImage[];
  /** Told which of the expected images the engine does not hold, before anything is thrown for them. */
  readonly onCompared: (wrong: readonly ExpectedImage[]) => void;
}

/**
 * The engine's own word is checked: a success that left the wrong images behind, or none, is none. What a reference meant before is put
 * back then.
 *
 * @param loaded - The engine's own word.
 * @returns What the expected references mean now.
 * @throws UnlockError `unlock.image-unsigned` | `unlock.image-mismatch` | `unlock.engine-*`; the signal's reason.
 */
export async function verifyLoaded(
  engine: WatchedEngine,
  loaded: readonly EngineImage[],
  { expected, before, onCompared }: LoadVerification,
  signal: AbortSignal,
): Promise<readonly EngineImage[]> {
  const surplus = notSignedFor(loaded, expected);
  if (surplus.length > 0) {
    await engine.assign(restoring([...surplus, ...expected], before), signal);
    throw unsigned(references(surplus).join(', '));
  }
  const present = await engine.present(references(expected), signal);
  const wrong = notAsExpected(present, expected, loaded);
  onCompared(wrong);
  if (wrong.length === 0) return present;
  const foreign = wrong.filter(({ reference }) => present.some((image) => isSame(image.reference, reference)));
  if (foreign.length === 0)
    throw new UnlockError(
      'unlock.engine-failed',
      'The container engine said that it loaded the images, but they are not there. Look at its log.',
      { details: { missing: references(wrong) } },
    );
  await engine.assign(restoring(foreign, before), signal);
  throw mismatch(references(foreign).join(', '));
}

/** The references of images, in their order. */
export function references(images: readonly { readonly reference: string }[]): readonly string[] {
  return images.map(({ reference }) => reference);
}

/** What brings references back to what they meant before; those that meant nothing go away. */
function restoring(
  images: readonly { readonly reference: string }[],
  before: readonly EngineImage[],
): readonly ImageAssignment[] {
  return images.map(({ reference }) => {
    const known = before.find((image) => isSame(image.reference, reference));
    return { reference, imageId: known?.imageId ?? null };
  });
}

function isSame(reference: string, other: string): boolean {
  return canonicalReference(reference) === canonicalReference(other);
}
