import type { ResourceKind, SegmentKind } from '@azaion/crypto';
import { isValidName, UUID_PATTERN } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import { MAX_PACK_BYTES, type PackId } from '../pack.js';

/** Version of the layout that this release writes and reads. */
export const BUNDLE_FORMAT = 1;
/** Name of the file that says what a bundle holds. */
export const MANIFEST_PATH = 'bundle.json';
/** Where the key document lies. */
export const KEY_DOCUMENT_PATH = 'key-document.jws';
/** Longest manifest that is read. */
export const MAX_MANIFEST_BYTES = 64 * 1024 * 1024;

const MAX_FILES = 400_000;
const MAX_RESOURCES = 10_000;
const MAX_SERIALS = 100_000;
const SERIAL = '[A-Za-z0-9][A-Za-z0-9._-]{0,63}';
const UUID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
const HEX_32 = /^[0-9a-f]{64}$/;
/** Every path that a bundle may hold: nothing that comes from outside names another. */
const PATH = new RegExp(
  `^(?:key-document\\.jws|statements/[0-9a-f]{64}\\.jws|segments/[0-9a-f]{64}/(?:root|chunks|packs)/(?:0|[1-9][0-9]{0,5})|packs/${UUID}/[0-9a-f]{32}|grants/${SERIAL}/[0-9a-f]{64}\\.json)$`,
);

/** One version in a bundle, as the manifest says it; the signed statement says it again. */
export interface BundledResource {
  readonly folder: string;
  readonly name: string;
  readonly version: number;
  readonly kind: ResourceKind;
  readonly totalBytes: number;
  readonly folderId: string;
  readonly rootHash: string;
}

/** One file of a bundle, beside the manifest itself. */
export interface BundledFile {
  readonly path: string;
  readonly sizeBytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

/** What a bundle holds. It is not signed and decides nothing: statements, grants and hashes inside the recipes do. */
export interface BundleManifest {
  /** Seconds since 1970. */
  readonly createdAt: number;
  readonly resources: readonly BundledResource[];
  /** Serials of the devices that it holds grants for. */
  readonly serials: readonly string[];
  readonly files: readonly BundledFile[];
}

/** Where a statement lies. */
export function statementPath(rootHash: string): string {
  return `statements/${rootHash}.jws`;
}

/** Where a sealed part of a recipe lies: as the segment store of a device has it, below `segments`. */
export function segmentPath(rootHash: string, kind: SegmentKind, index: number): string {
  return `segments/${rootHash}/${kind}/${String(index)}`;
}

/** Where a pack lies: as in the CDN, so that a bundle is a source of packs as it is. */
export function packPath(folderId: string, packId: PackId): string {
  return `packs/${folderId}/${packId}`;
}

/** Where a device's grant of a version lies. */
export function grantPath(serial: string, rootHash: string): string {
  return `grants/${serial}/${rootHash}.json`;
}

/** Whether a path is one that a bundle may hold. */
export function isBundlePath(path: string): boolean {
  return path.length <= 200 && PATH.test(path);
}

/** The text of `bundle.json`. */
export function encodeManifest(manifest: BundleManifest): string {
  return `${JSON.stringify({ format: BUNDLE_FORMAT, ...manifest }, undefined, 1)}\n`;
}

/**
 * Reads `bundle.json`.
 *
 * @param text - Untrusted.
 * @throws ResourceError `bundle.invalid` | `bundle.unsupported-format`.
 */
export function parseManifest(text: string): BundleManifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalid('is not JSON', cause);
  }
  const { format, createdAt, resources, serials, files, ...rest } = objectOf(value);
  if (format !== BUNDLE_FORMAT) {
    if (!isCount(format)) throw invalid('has no format version');
    throw new ResourceError(
      'bundle.unsupported-format',
      `This bundle has format version ${format}; this release reads version ${BUNDLE_FORMAT}. Update to a release that reads version ${format}.`,
      { details: { formatVersion: format, supportedVersion: BUNDLE_FORMAT } },
    );
  }
  if (Object.keys(rest).length > 0 || !isCount(createdAt)) throw invalid('has unknown members, or no time');
  const manifest: BundleManifest = {
    createdAt,
    resources: listOf(resources, MAX_RESOURCES, resourceOf),
    serials: listOf(serials, MAX_SERIALS, serialOf),
    files: listOf(files, MAX_FILES, fileOf),
  };
  assertDifferent(manifest.files.map(({ path }) => path));
  assertDifferent(manifest.serials);
  assertDifferent(manifest.resources.map(({ rootHash }) => rootHash));
  return manifest;
}

function resourceOf(value: unknown): BundledResource {
  const { folder, name, version, kind, totalBytes, folderId, rootHash, ...rest } = objectOf(value);
  if (
    Object.keys(rest).length > 0 ||
    !isValidName(folder) ||
    !isValidName(name) ||
    !isCount(version) ||
    version < 1 ||
    (kind !== 'file' && kind !== 'images') ||
    !isCount(totalBytes) ||
    !matches(folderId, UUID_PATTERN) ||
    !matches(rootHash, HEX_32)
  )
    throw invalid('describes a resource badly');
  return { folder, name, version, kind, totalBytes, folderId, rootHash };
}

function serialOf(value: unknown): string {
  if (!matches(value, new RegExp(`^${SERIAL}$`))) throw invalid('names a device badly');
  return value;
}

function fileOf(value: unknown): BundledFile {
  const { path, sizeBytes, sha256, ...rest } = objectOf(value);
  if (
    Object.keys(rest).length > 0 ||
    typeof path !== 'string' ||
    !isBundlePath(path) ||
    !isCount(sizeBytes) ||
    sizeBytes > MAX_PACK_BYTES ||
    !matches(sha256, HEX_32)
  )
    throw invalid('describes a file badly');
  return { path, sizeBytes, sha256 };
}

function listOf<Item>(value: unknown, most: number, itemOf: (item: unknown) => Item): readonly Item[] {
  if (!Array.isArray(value) || value.length > most) throw invalid('has a bad list');
  return value.map(itemOf);
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid('is not what it should be');
  return value as Record<string, unknown>;
}

function assertDifferent(texts: readonly string[]): void {
  if (new Set(texts).size !== texts.length) throw invalid('names something twice');
}

function matches(value: unknown, pattern: RegExp): value is string {
  return typeof value === 'string' && pattern.test(value);
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function invalid(problem: string, cause?: unknown): ResourceError {
  return new ResourceError(
    'bundle.invalid',
    `The bundle's ${MANIFEST_PATH} ${problem}.`,
    cause === undefined ? {} : { cause },
  );
}
