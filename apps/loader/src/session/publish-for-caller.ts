import { Readable } from 'node:stream';

import type { ResourceKind, StatementImage } from '@azaion/crypto';
import { IdentityError } from '@azaion/identity';
import type { ResourceName } from '@azaion/kernel';
import { type ChunkSealer, type PackSink, PublishResource, type PublishResult } from '@azaion/split-resource';
import type { ArchiveInspector } from '@azaion/unlock';

import type { CallerApis, TokenBearer } from './caller-apis.js';

/** F3 for one caller at a time, with the caller's own token. */
export class PublishForCaller {
  constructor(
    private readonly apis: CallerApis,
    private readonly sink: PackSink,
    private readonly inspector: ArchiveInspector,
    private readonly maxBytes: number,
    private readonly sealer: ChunkSealer,
  ) {}

  /**
   * @param content - Read once; when it throws, nothing is published.
   * @throws ResourceError; IdentityError `role.forbidden` for a login without the Admin API; UnlockError `unlock.archive-invalid` | `unlock.archive-truncated` for `images`; what the content throws.
   */
  async run(
    resource: ResourceName,
    kind: ResourceKind,
    content: AsyncIterable<Buffer>,
    bearer: TokenBearer,
    signal: AbortSignal,
  ): Promise<PublishResult> {
    if (bearer.caller.local === true)
      throw new IdentityError(
        'role.forbidden',
        'This login is good for what is on the device: log in again once the Admin API can be reached to publish.',
      );
    const publish = new PublishResource(this.apis.uploads(bearer), this.sink, { sealer: this.sealer });
    const common = { resource, kind, maxBytes: this.maxBytes, signal };
    if (kind === 'file') return publish.run({ ...common, content: asReadable(content) });
    let found: readonly StatementImage[] = [];
    const inspected = this.inspector.passThrough(content, (images) => (found = images));
    return publish.run({ ...common, content: asReadable(inspected), images: () => Promise.resolve(found) });
  }
}

function asReadable(content: AsyncIterable<Uint8Array>): Readable {
  return Readable.from(content, { objectMode: false });
}
