import { Readable } from 'node:stream';

import { type ByteRange, concatBytes, type ResourceName } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import { LegacyBigParts, LegacyBigSink, LegacySmallParts } from '../legacy/legacy-parts.js';

/** Small parts in memory, as they are after the API's own key has been taken off. */
export class InMemoryLegacySmallParts extends LegacySmallParts {
  readonly parts = new Map<string, Uint8Array>();

  override read(resource: ResourceName): Promise<Uint8Array> {
    const part = this.parts.get(keyOf(resource));
    return part === undefined
      ? Promise.reject(new ResourceError('resource.not-found', 'There is no such resource.'))
      : Promise.resolve(part);
  }

  override write(resource: ResourceName, small: Uint8Array): Promise<void> {
    this.parts.set(keyOf(resource), new Uint8Array(small));
    return Promise.resolve();
  }
}

/** Big parts in memory; reading can break off. */
export class InMemoryLegacyBigParts extends LegacyBigParts {
  readonly parts = new Map<string, Uint8Array>();
  /** Bytes after which every opened range breaks off. */
  breaksAfterBytes = Number.POSITIVE_INFINITY;
  /** How often a range was opened. */
  openings = 0;

  override size(resource: ResourceName): Promise<number | undefined> {
    return Promise.resolve(this.parts.get(keyOf(resource))?.length);
  }

  override open(resource: ResourceName, { start, end }: ByteRange): Promise<Readable> {
    this.openings += 1;
    const part = this.parts.get(keyOf(resource));
    if (part === undefined) return Promise.reject(new ResourceError('cdn.missing', 'There is no such part.'));
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

  override async put(resource: ResourceName, content: AsyncIterable<Uint8Array>): Promise<void> {
    const parts: Uint8Array[] = [];
    for await (const part of content) parts.push(new Uint8Array(part));
    this.bigs.parts.set(keyOf(resource), concatBytes(...parts));
  }
}

function keyOf({ folder, name }: ResourceName): string {
  return `${folder}/${name}`;
}
