import { hash } from 'node:crypto';
import { Readable } from 'node:stream';

import { type ByteRange, concatBytes, type ResourceName, resourcePath } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import { type FoundBigPart, LegacyBigParts, LegacyBigSink, LegacySmallParts } from '../legacy/legacy-parts.js';

/** Small parts in memory, as they are after the API's own key has been taken off. */
export class InMemoryLegacySmallParts extends LegacySmallParts {
  readonly parts = new Map<string, Uint8Array>();

  override read(resource: ResourceName): Promise<Uint8Array> {
    const part = this.parts.get(resourcePath(resource));
    return part === undefined
      ? Promise.reject(new ResourceError('resource.not-found', 'There is no such resource.'))
      : Promise.resolve(part);
  }

  override write(resource: ResourceName, small: Uint8Array): Promise<void> {
    this.parts.set(resourcePath(resource), new Uint8Array(small));
    return Promise.resolve();
  }
}

/** Big parts in memory; reading can break off. */
export class InMemoryLegacyBigParts extends LegacyBigParts {
  readonly parts = new Map<string, Uint8Array>();
  /** What writers said of the small parts that belong to them. */
  readonly smallSha256s = new Map<string, string>();
  /** SHA-256 of plaintexts that somebody left beside the parts. */
  readonly plaintextSha256s = new Map<string, string>();
  /** Bytes after which every opened range breaks off. */
  breaksAfterBytes = Number.POSITIVE_INFINITY;
  /** Nothing answers any more. */
  isUnreachable = false;
  /** How often a part was looked up. */
  lookups = 0;
  /** How often a range was opened. */
  openings = 0;

  override find(resource: ResourceName): Promise<FoundBigPart | undefined> {
    this.lookups += 1;
    if (this.isUnreachable) return Promise.reject(unreachable());
    const key = resourcePath(resource);
    const part = this.parts.get(key);
    return Promise.resolve(
      part && {
        sizeBytes: part.length,
        state: hash('sha256', part),
        smallSha256: this.smallSha256s.get(key),
        plaintextSha256: this.plaintextSha256s.get(key),
        open: (range) => this.opened(key, part, range),
      },
    );
  }

  private opened(key: string, part: Uint8Array, { start, end }: ByteRange): Promise<Readable> {
    this.openings += 1;
    if (this.isUnreachable) return Promise.reject(unreachable());
    if (!this.parts.has(key)) return Promise.reject(new ResourceError('cdn.missing', 'There is no such part.'));
    if (this.parts.get(key) !== part)
      return Promise.reject(new ResourceError('cdn.unavailable', 'The part was replaced meanwhile.'));
    const { breaksAfterBytes } = this;
    return Promise.resolve(
      Readable.from(
        (async function* () {
          await Promise.resolve();
          const wanted = part.subarray(start, end);
          // Pieces of odd lengths: whoever needs whole blocks puts them together.
          for (let at = 0; at < Math.min(wanted.length, breaksAfterBytes); at += 1021)
            yield Buffer.from(wanted.subarray(at, Math.min(at + 1021, breaksAfterBytes)));
          if (wanted.length > breaksAfterBytes) throw new Error('the connection broke');
        })(),
        { objectMode: false },
      ),
    );
  }
}

/** Writes to {@link InMemoryLegacyBigParts}. */
export class InMemoryLegacyBigSink extends LegacyBigSink {
  constructor(private readonly bigs: InMemoryLegacyBigParts) {
    super();
  }

  override async put(resource: ResourceName, content: AsyncIterable<Uint8Array>, smallSha256: string): Promise<void> {
    const parts: Uint8Array[] = [];
    for await (const part of content) parts.push(new Uint8Array(part));
    this.bigs.parts.set(resourcePath(resource), concatBytes(...parts));
    this.bigs.smallSha256s.set(resourcePath(resource), smallSha256);
  }
}

function unreachable(): ResourceError {
  return new ResourceError('cdn.unavailable', 'Nothing answers here.');
}
