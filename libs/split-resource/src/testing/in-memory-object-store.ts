import { createHash, hash, randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';

import { type ByteRange, type Clock, concatBytes, SystemClock } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import { ObjectStore, type SignedPut } from '../ports/object-store.js';
import { PackSink, type PackTarget } from '../ports/pack-sink.js';
import { type PackLocation, PackSource } from '../ports/pack-source.js';

interface Permission {
  readonly method: 'GET' | 'PUT';
  readonly key: string;
  readonly content?: SignedPut;
  readonly expiresAtMs: number;
}

/** An object store in memory whose signed URLs work with {@link InMemoryPackSink} and {@link InMemoryPackSource}. */
export class InMemoryObjectStore extends ObjectStore {
  private readonly objects = new Map<string, Uint8Array>();
  private readonly permissions = new Map<string, Permission>();

  constructor(
    private readonly clock: Clock = new SystemClock(),
    override readonly needsMd5 = true,
  ) {
    super();
  }

  override signGet(key: string, expiresInSeconds: number): Promise<string> {
    return Promise.resolve(this.sign({ method: 'GET', key, expiresAtMs: this.expiry(expiresInSeconds) }));
  }

  override signPut(key: string, content: SignedPut, expiresInSeconds: number): Promise<PackTarget> {
    if (this.needsMd5 && content.md5 === undefined) throw new Error('this store checks the MD5');
    const url = this.sign({ method: 'PUT', key, content, expiresAtMs: this.expiry(expiresInSeconds) });
    return Promise.resolve({ url, headers: content.md5 === undefined ? {} : { 'content-md5': content.md5 } });
  }

  override head(key: string): Promise<{ readonly sizeBytes: number } | undefined> {
    const object = this.objects.get(key);
    return Promise.resolve(object && { sizeBytes: object.length });
  }

  override read(key: string, range: ByteRange): Promise<Readable> {
    const object = this.objects.get(key);
    if (object === undefined || range.end > object.length)
      return Promise.reject(new ResourceError('pack.not-found', 'There is no such object.'));
    return Promise.resolve(Readable.from([Buffer.from(object.subarray(range.start, range.end))]));
  }

  override write(key: string, bytes: Uint8Array): Promise<void> {
    if (this.objects.has(key)) return Promise.reject(new ResourceError('pack.exists', 'The object is there already.'));
    this.objects.set(key, Uint8Array.from(bytes));
    return Promise.resolve();
  }

  override delete(key: string): Promise<void> {
    this.objects.delete(key);
    return Promise.resolve();
  }

  override check(): Promise<void> {
    return Promise.resolve();
  }

  /** Every key, for what tests look at. */
  keys(): readonly string[] {
    return [...this.objects.keys()];
  }

  /** Replaces an object behind everyone's back, as an insider of the CDN could; `undefined` removes it. */
  tamper(key: string, change: (bytes: Uint8Array) => Uint8Array | undefined): void {
    const object = this.objects.get(key);
    const changed = object && change(new Uint8Array(object));
    if (changed) this.objects.set(key, changed);
    else this.objects.delete(key);
  }

  /** What a GET with this URL answers. @throws ResourceError `pack.forbidden` | `pack.not-found` | `pack.truncated`. */
  get(url: string | undefined, range: ByteRange): Buffer {
    const { key } = this.permission('GET', url);
    const object = this.objects.get(key);
    if (object === undefined) throw new ResourceError('pack.not-found', 'There is no such pack.');
    if (range.end > object.length) throw new ResourceError('pack.truncated', 'The pack is shorter than that.');
    return Buffer.from(object.subarray(range.start, range.end));
  }

  /** What a PUT with this target answers. @throws ResourceError `pack.exists` | `pack.forbidden`. */
  put(target: PackTarget, bytes: Uint8Array): void {
    const { key, content } = this.permission('PUT', target.url);
    const fits =
      bytes.length === content?.sizeBytes &&
      target.headers['content-md5'] === content.md5 &&
      (content.md5 === undefined || createHash('md5').update(bytes).digest('base64') === content.md5) &&
      hash('sha256', bytes, 'hex') === content.sha256;
    if (!fits) throw new ResourceError('pack.forbidden', 'These are not the bytes that were announced.');
    if (this.objects.has(key)) throw new ResourceError('pack.exists', 'The pack is there already.');
    this.objects.set(key, bytes);
  }

  private permission(method: Permission['method'], url: string | undefined): Permission {
    const permission = url === undefined ? undefined : this.permissions.get(url);
    if (permission?.method !== method || permission.expiresAtMs <= this.clock.nowMs())
      throw new ResourceError('pack.forbidden', 'The URL is not valid.');
    return permission;
  }

  private sign(permission: Permission): string {
    const url = `memory:${permission.key}?signature=${randomUUID()}`;
    this.permissions.set(url, permission);
    return url;
  }

  private expiry(expiresInSeconds: number): number {
    return this.clock.nowMs() + expiresInSeconds * 1000;
  }
}

/** Writes packs to an {@link InMemoryObjectStore}. */
export class InMemoryPackSink extends PackSink {
  constructor(private readonly objects: InMemoryObjectStore) {
    super();
  }

  override async put(target: PackTarget, parts: readonly Uint8Array[]): Promise<void> {
    await Promise.resolve();
    this.objects.put(target, concatBytes(...parts));
  }
}

/** Reads packs from an {@link InMemoryObjectStore}; counts what it sends. */
export class InMemoryPackSource extends PackSource {
  /** Every range that was asked for, in order. */
  readonly opened: { readonly packId: string; readonly range: ByteRange }[] = [];
  /** Bytes sent so far. */
  sentBytes = 0;

  constructor(private readonly objects: InMemoryObjectStore) {
    super();
  }

  override async open(location: PackLocation, range: ByteRange): Promise<Readable> {
    await Promise.resolve();
    const bytes = this.objects.get(location.url, range);
    this.opened.push({ packId: location.pack.packId, range });
    this.sentBytes += bytes.length;
    return Readable.from([bytes]);
  }
}
