import type { SegmentKind, SegmentPlace } from '@azaion/crypto';

/** Which version a recipe belongs to. All of it is authenticated by every segment. */
export interface RecipePlace {
  /** UUID in its usual text form. */
  readonly folderId: string;
  /** UUID in its usual text form. */
  readonly resourceId: string;
  /** 1, 2, 3 …; `DRAFT_VERSION` while an upload has not been committed. */
  readonly version: number;
}

/** Where one part of a recipe belongs. */
export function segmentPlace(place: RecipePlace, kind: SegmentKind, index: number, last: boolean): SegmentPlace {
  return {
    folderId: uuidBytes(place.folderId),
    resourceId: uuidBytes(place.resourceId),
    version: place.version,
    kind,
    index,
    last,
  };
}

function uuidBytes(uuid: string): Buffer {
  const bytes = Buffer.from(uuid.replaceAll('-', ''), 'hex');
  if (uuid.length !== 36 || bytes.length !== 16) throw new RangeError('not a UUID');
  return bytes;
}
