/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { createHash, hash, randomBytes } from 'node:crypto';

import { DRAFT_VERSION, sealChunk } from '@azaion/crypto';
import { concatBytes, toBase64Url, u32be } from '@azaion/kernel';
import { CHUNKING, type ChunkRecord, identifyChunk, type PackRef, RecipeBuilder } from '@azaion/split-resource';

import type { Account, Answer, StartedApi } from './started-api.js';

/** One sealed chunk and where it lies. */
export interface DraftChunk extends ChunkRecord {
  readonly id: Uint8Array;
  readonly sealed: Uint8Array;
  readonly content: Uint8Array;
}

/** A pack that was announced. */
export interface DraftPack extends PackRef {
  readonly bytes: Uint8Array;
  readonly chunks: readonly DraftChunk[];
}

/** What a commit is made of; attacks change it. */
export interface Draft {
  chunks: ChunkRecord[];
  packs: PackRef[];
  sha256: Uint8Array;
  /** What the segments are sealed with. */
  recipeKey: Uint8Array;
}

/** A publisher that takes every step by hand, so that specs can take wrong ones. */
export class DraftUpload {
  private constructor(
    private readonly api: StartedApi,
    private readonly token: string,
    // eslint-disable-next-line @typescript-eslint/no-explicit-any
    readonly opened: any,
  ) {}

  static async open(api: StartedApi, account: Pick<Account, 'token'>, path: string): Promise<DraftUpload> {
    const { status, json, text } = await api.call('POST', `/sealed/${path}/uploads`, {
      token: account.token,
      body: {},
    });
    if (status !== 201) throw new Error(`the upload was not opened: ${String(status)} ${text}`);
    return new DraftUpload(api, account.token, json);
  }

  get id(): string {
    return this.opened.uploadId as string;
  }

  get domainKey(): Uint8Array {
    return Buffer.from(this.opened.dedupKey as string, 'base64url');
  }

  call(method: string, path: string, body?: unknown): Promise<Answer> {
    return this.api.call(method, `/sealed/uploads/${this.id}${path}`, { token: this.token, body });
  }

  known(ids: readonly Uint8Array[]): Promise<Answer> {
    return this.call('POST', '/known-chunks', { ids: ids.map(toBase64Url) });
  }

  /** Seals contents into one pack and announces it. */
  async announce(...contents: readonly Uint8Array[]): Promise<DraftPack & { readonly target: Answer['json'] }> {
    let offset = 0;
    const chunks = contents.map((content) => {
      const identity = identifyChunk(content, this.domainKey);
      const sealed = sealChunk(content, identity);
      const chunk: DraftChunk = {
        ...identity,
        sealed,
        content,
        sealedBytes: sealed.length,
        offset,
        domain: this.opened.domain as number,
        packIndex: 0,
      };
      offset += sealed.length;
      return chunk;
    });
    const bytes = concatBytes(...chunks.map(({ sealed }) => sealed));
    const sha256 = hash('sha256', bytes, 'buffer');
    const { json } = await this.call('POST', '/packs', {
      sizeBytes: bytes.length,
      sha256: toBase64Url(sha256),
      md5: toBase64Url(createHash('md5').update(bytes).digest()),
    });
    return { packId: json.packId as string, sizeBytes: bytes.length, sha256, bytes, chunks, target: json };
  }

  /** Writes an announced pack to its signed URL. */
  async write(pack: DraftPack & { readonly target: Answer['json'] }): Promise<number> {
    const { url, headers } = pack.target as { url: string; headers: Record<string, string> };
    return (await fetch(url, { method: 'PUT', headers, body: new Uint8Array(pack.bytes) })).status;
  }

  /** Registers a pack's table. */
  register(
    pack: DraftPack,
    chunks: readonly Pick<DraftChunk, 'id' | 'offset' | 'sealedBytes'>[] = pack.chunks,
  ): Promise<Answer> {
    return this.call('PUT', `/packs/${pack.packId}/chunks`, this.tableOf(chunks));
  }

  /** A pack's table as it is sent. */
  tableOf(chunks: readonly Pick<DraftChunk, 'id' | 'offset' | 'sealedBytes'>[]): Uint8Array {
    return concatBytes(...chunks.map((each) => concatBytes(each.id, u32be(each.offset), u32be(each.sealedBytes))));
  }

  /** Announces, writes and registers. */
  async pack(...contents: readonly Uint8Array[]): Promise<DraftPack> {
    const pack = await this.announce(...contents);
    const status = await this.write(pack);
    const registered = await this.register(pack);
    if (status !== 200 || registered.status !== 204) throw new Error(`${String(status)} ${registered.text}`);
    return pack;
  }

  /** An honest draft of these packs. */
  draft(...packs: readonly DraftPack[]): Draft {
    const chunks = packs.flatMap((pack, packIndex) => pack.chunks.map((chunk) => ({ ...chunk, packIndex })));
    const sha256 = createHash('sha256');
    for (const chunk of chunks) sha256.update(chunk.content);
    return { chunks, packs: [...packs], sha256: sha256.digest(), recipeKey: randomBytes(32) };
  }

  /** Hands in the segments of a draft and commits. @param committedKey - The key that the commit names. */
  async commit(draft: Draft, committedKey = draft.recipeKey): Promise<Answer> {
    return this.call('POST', '/commit', await this.handIn(draft, committedKey));
  }

  /** Hands in the segments of a draft. @returns The body of the commit. */
  async handIn(draft: Draft, committedKey = draft.recipeKey): Promise<object> {
    const place = {
      folderId: this.opened.folderId as string,
      resourceId: this.opened.resourceId as string,
      version: DRAFT_VERSION,
    };
    const builder = new RecipeBuilder(place, draft.recipeKey, CHUNKING, async (kind, index, sealed) => {
      const { status, text } = await this.call('PUT', `/segments/${kind}/${String(index)}`, new Uint8Array(sealed));
      if (status !== 204) throw new Error(`the segment was refused: ${text}`);
    });
    for (const chunk of draft.chunks) await builder.add(chunk);
    const { chunkSegments, packSegments } = await builder.finish(draft.packs, draft.sha256);
    return { recipeKey: toBase64Url(committedKey), kind: 'file', chunkSegments, packSegments };
  }
}
