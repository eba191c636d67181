import { MAX_SIGNED_DOCUMENT_CHARS, P256_POINT_BYTES, type SegmentKind } from '@azaion/crypto';
import { type DomainError, type ResourceName, toBase64Url, UUID_PATTERN } from '@azaion/kernel';
import {
  areExtents,
  type GrantAnswer,
  GrantApi,
  type GrantRequest,
  MAX_PACK_BYTES,
  MAX_PACK_EXTENTS,
  MAX_PACK_URLS,
  PACK_ID_PATTERN,
  type PackId,
  type PackUrl,
  ResourceError,
} from '@azaion/split-resource';

import type { AccessTokens } from './access-tokens.js';
import { AnswerShapeError, answerList, ApiAnswer } from './api-answer.js';
import { type ApiClient, apiPath, type ApiProblem } from './api-client.js';

const JWS = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;
/** The reader of a damaged chunk waits for this before it learns of the damage. */
const REPORT_DEADLINE_MS = 5_000;
const MAX_GRANT_BYTES = 1024 * 1024;
// recipeKey ‖ rootHash and a tag: 80 bytes; some room for what a later version may add.
const MAX_SEALED_KEY_BYTES = 1024;

/** F2 over HTTP, for one caller. Shapes and bounds are checked; signatures are the caller's to verify. Source: docs/reference/sealed-wire.md, "Fetch". */
export class HttpGrantApi extends GrantApi {
  /** @param deviceTokens - Where an enrolled device carries a person's call: its own token. */
  constructor(
    private readonly client: ApiClient,
    private readonly tokens: AccessTokens,
    private readonly deviceTokens?: AccessTokens,
    private readonly signal?: AbortSignal,
  ) {
    super();
  }

  override grant(request: GrantRequest): Promise<GrantAnswer> {
    return this.client.json(
      {
        ...this.identity(),
        method: 'POST',
        path: apiPath('sealed', request.resource.folder, request.resource.name, 'grants'),
        json: {
          recipientPublicKey: toBase64Url(request.recipientPoint),
          nonce: request.nonce,
          ...(request.version === undefined ? {} : { version: request.version }),
        },
        expect: [201],
        maxBytes: MAX_GRANT_BYTES,
      },
      (value) => {
        const answer = new ApiAnswer(value);
        const sealed = answer.object('sealedRecipeKey');
        return {
          grantId: answer.text('grantId', 36, UUID_PATTERN),
          statement: answer.text('statement', MAX_SIGNED_DOCUMENT_CHARS, JWS),
          grantToken: answer.text('grantToken', MAX_SIGNED_DOCUMENT_CHARS, JWS),
          sealedRecipeKey: {
            enc: sealed.bytes('enc', P256_POINT_BYTES),
            ciphertext: sealed.bytes('ciphertext', 1, MAX_SEALED_KEY_BYTES),
          },
          urls: answer.list('urls', MAX_PACK_URLS).map(readPackUrl),
          verified: answer.flag('verified'),
        };
      },
      grantRefusal,
    );
  }

  override async segment(grantId: string, kind: SegmentKind, index: number, maxBytes: number): Promise<Uint8Array> {
    const answer = await this.client.call(
      {
        ...this.identity(),
        method: 'GET',
        path: apiPath('sealed', 'grants', grantId, 'segments', kind, index),
        expect: [200],
        maxBytes,
      },
      grantRefusal,
    );
    return answer.body;
  }

  override packUrls(grantId: string, packIds: readonly PackId[]): Promise<readonly PackUrl[]> {
    return this.client.json(
      {
        ...this.identity(),
        method: 'POST',
        path: apiPath('sealed', 'grants', grantId, 'urls'),
        json: { packIds },
        expect: [200],
        maxBytes: MAX_GRANT_BYTES,
      },
      (value) => {
        const urls = answerList(value, MAX_PACK_URLS).map(readPackUrl);
        if (!urls.every((each) => packIds.includes(each.packId))) throw new AnswerShapeError('packId');
        return urls;
      },
      grantRefusal,
    );
  }

  override async reportBadChunk({ folder, name }: ResourceName, version: number, chunk: number): Promise<void> {
    await this.client.call(
      {
        ...this.identity(),
        method: 'POST',
        path: apiPath('sealed', folder, name, 'versions', version, 'bad-chunk'),
        json: { chunk },
        expect: [202],
        maxBytes: 1024,
        deadlineMs: REPORT_DEADLINE_MS,
      },
      grantRefusal,
    );
  }

  private identity(): {
    readonly tokens: AccessTokens;
    readonly deviceTokens: AccessTokens | undefined;
    readonly signal: AbortSignal | undefined;
  } {
    return { tokens: this.tokens, deviceTokens: this.deviceTokens, signal: this.signal };
  }
}

/** A compacted pack has its URL in another place: who does not know of extents must not take its object for the pack. */
function readPackUrl(answer: ApiAnswer): PackUrl {
  const packId = answer.text('packId', 32, PACK_ID_PATTERN);
  if (!answer.has('compacted')) return { packId, url: answer.url('url') };
  const compacted = answer.object('compacted');
  const extents = compacted.list('extents', MAX_PACK_EXTENTS).map((extent) => ({
    start: extent.count('start', 0, MAX_PACK_BYTES),
    end: extent.count('end', 1, MAX_PACK_BYTES),
  }));
  if (!areExtents(extents)) throw new AnswerShapeError('extents');
  return { packId, url: compacted.url('url'), compacted: { extents, sha256: compacted.bytes('sha256', 32) } };
}

function grantRefusal(problem: ApiProblem): DomainError | undefined {
  const options = { cause: { status: problem.status, code: problem.code } };
  if (problem.status === 404 && problem.code === 'grant.not-found')
    return new ResourceError('api.grant-gone', 'The Admin API no longer knows the grant: ask for a new one.', options);
  if (problem.status === 404)
    return new ResourceError('resource.not-found', 'There is no such resource or version.', options);
  if (problem.status === 403 && (problem.code === 'folder.forbidden' || problem.code === 'resource.forbidden'))
    return new ResourceError('resource.forbidden', 'The caller may not read this folder.', options);
  return undefined;
}
