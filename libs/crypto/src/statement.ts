import { hash } from 'node:crypto';

import { isValidName, UUID_PATTERN } from '@azaion/kernel';

import { CryptoError } from './errors.js';
import type { StatementKeys } from './key-document.js';
import { headerText, signDocument, type SigningKey, type VerificationKey, verifyDocument } from './signed-document.js';

const TYP = 'azaion-statement+jws';
const MAX_IMAGES = 256;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
const HEX_32 = /^[0-9a-f]{64}$/;
const SCOPE = /^(?:fleet|device:[A-Za-z0-9][A-Za-z0-9._-]{0,63})$/;

/** What a resource holds: any bytes, or a `docker save` archive. */
export type ResourceKind = 'file' | 'images';

/** One image inside an archive. */
export interface StatementImage {
  /** Repository and tag, for example `azaion/detections:1.4.0`. */
  readonly reference: string;
  /** `sha256:…` of the image's configuration: what container engines call the image id. */
  readonly configDigest: string;
  /** `sha256:…` of what the archive's OCI index names: the image's manifest, or its own index of manifests. `null` for archives without one. */
  readonly manifestDigest: string | null;
}

/** Facts about one committed version, signed once. It says nothing that expires and nothing that would confirm a guess of the content. */
export interface Statement {
  readonly folderId: string;
  readonly folder: string;
  readonly resourceId: string;
  readonly resource: string;
  readonly version: number;
  readonly kind: ResourceKind;
  readonly totalBytes: number;
  /** SHA-256 of the sealed root, hexadecimal. */
  readonly rootHash: string;
  /** The publisher's user id. */
  readonly publisher: string;
  /** Seconds since 1970. */
  readonly committedAt: number;
  /** `fleet`, or `device:<serial>` until an administrator promotes it. */
  readonly scope: string;
  /** For `images` archives only. */
  readonly images?: readonly StatementImage[];
}

/** Signs a statement with a key that the key document names. */
export async function signStatement(statement: Statement, key: SigningKey): Promise<string> {
  return signDocument(statement, TYP, key);
}

/** SHA-256 of a statement's compact form, hexadecimal: how a grant token names it. */
export function statementHash(jws: string): string {
  return hash('sha256', jws, 'hex');
}

/**
 * Verifies a statement's signature and form. Whether it is the version that was asked for is the caller's to check.
 *
 * @param jws - Untrusted text.
 * @throws CryptoError `statement.key-unknown` | `statement.invalid`.
 */
export async function verifyStatement(jws: string, keys: StatementKeys): Promise<Statement> {
  return readStatement(jws, keys.keyFor(jws, TYP));
}

/** The part of a statement before its first dot when the key of this id has signed it: what finds statements by their key in a store. */
export function statementHeader(kid: string): string {
  return headerText(kid, TYP);
}

/**
 * As {@link verifyStatement}, with one key that the caller trusts by itself, whatever key documents say.
 *
 * @param key - `undefined`: nothing verifies.
 * @throws CryptoError `statement.invalid`.
 */
export async function readStatement(jws: string, key: VerificationKey | undefined): Promise<Statement> {
  const payload = await verifyDocument(jws, TYP, key);
  if (!isStatement(payload))
    throw new CryptoError('statement.invalid', 'The statement of this version is forged or malformed.');
  return payload;
}

/**
 * Checks that a statement may be used by this reader.
 *
 * @param serial - The device's own serial, `undefined` for a person.
 * @throws CryptoError `statement.scope`.
 */
export function assertInScope(statement: Statement, serial: string | undefined): void {
  if (statement.scope === 'fleet' || statement.scope === `device:${serial ?? ''}`) return;
  throw new CryptoError(
    'statement.scope',
    'This version was published by another device for itself: an administrator must promote it first.',
  );
}

function isStatement(value: unknown): value is Statement {
  if (typeof value !== 'object' || value === null) return false;
  const {
    folderId,
    folder,
    resourceId,
    resource,
    version,
    kind,
    totalBytes,
    rootHash,
    publisher,
    committedAt,
    scope,
    images,
    ...rest
  } = value as Record<string, unknown>;
  return (
    Object.keys(rest).length === 0 &&
    matches(folderId, UUID_PATTERN) &&
    isValidName(folder) &&
    matches(resourceId, UUID_PATTERN) &&
    isValidName(resource) &&
    isCount(version, 1) &&
    version <= 0xffff_ffff &&
    (kind === 'file' || kind === 'images') &&
    isCount(totalBytes, 0) &&
    matches(rootHash, HEX_32) &&
    matches(publisher, UUID_PATTERN) &&
    isCount(committedAt, 1) &&
    matches(scope, SCOPE) &&
    (kind === 'images' ? isImageList(images) : images === undefined)
  );
}

function isImageList(value: unknown): value is readonly StatementImage[] {
  return Array.isArray(value) && value.length <= MAX_IMAGES && value.every(isImage);
}

function isImage(value: unknown): value is StatementImage {
  if (typeof value !== 'object' || value === null) return false;
  const { reference, configDigest, manifestDigest, ...rest } = value as Record<string, unknown>;
  return (
    Object.keys(rest).length === 0 &&
    typeof reference === 'string' &&
    reference.length > 0 &&
    reference.length <= 512 &&
    matches(configDigest, DIGEST) &&
    (manifestDigest === null || matches(manifestDigest, DIGEST))
  );
}

function matches(value: unknown, pattern: RegExp): value is string {
  return typeof value === 'string' && pattern.test(value);
}

function isCount(value: unknown, least: number): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= least;
}
