import {
  CryptoError,
  type GrantToken,
  MAX_SIGNED_DOCUMENT_CHARS,
  P256_POINT_BYTES,
  readGrantToken,
  type Statement,
  statementHash,
  type StatementKeys,
  verifyStatement,
} from '@azaion/crypto';
import { fromBase64Url, UUID_PATTERN } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import type { GrantAnswer } from '../ports/grant-api.js';
import {
  type BundledResource,
  type BundleManifest,
  grantPath,
  KEY_DOCUMENT_PATH,
  MANIFEST_PATH,
  MAX_MANIFEST_BYTES,
  parseManifest,
  segmentPath,
  statementPath,
} from './bundle-manifest.js';
import type { BundleReader } from './bundle-reader.js';

const JWS = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;
const MAX_GRANT_FILE_BYTES = MAX_SIGNED_DOCUMENT_CHARS + 8192;
const MAX_SEALED_KEY_BYTES = 1024;

/** A grant of a bundle: what the device's lease will be. */
export interface BundledGrant {
  readonly serial: string;
  readonly token: GrantToken;
  readonly grant: Omit<GrantAnswer, 'urls'>;
}

/** One version of a bundle whose statement was verified. */
export interface VerifiedBundleResource {
  readonly statement: Statement;
  readonly statementJws: string;
  readonly grants: readonly BundledGrant[];
}

/** What was found good. */
export interface VerifiedBundle {
  readonly manifest: BundleManifest;
  readonly keys: StatementKeys;
  readonly resources: readonly VerifiedBundleResource[];
  /** Bytes of files that were read and compared. */
  readonly checkedBytes: number;
}

/** How a bundle is verified. */
export interface BundleChecks {
  /** Verifies the bundle's key document under the pinned root. @throws CryptoError `key-document.*`. */
  readonly keys: (document: string) => Promise<StatementKeys>;
  /** Only this device's grants; `undefined` for all of them. */
  readonly serial?: string | undefined;
  /** `false` leaves the files' hashes alone: what is opened later is checked then, byte for byte, against the recipe. Default: they are compared. */
  readonly files?: boolean;
  readonly onBytes?: (checkedBytes: number, totalBytes: number) => void;
}

/**
 * Verifies all of a bundle that can be verified without the key of a device: the key document by the root, statements and grant tokens by their
 * signatures, that they belong together, the sealed roots by the signed hashes, and every file by the manifest. What is in the packs is
 * checked when it is opened, as always.
 *
 * @throws ResourceError `bundle.invalid` | `bundle.unsupported-format` | `resource.integrity`; CryptoError `key-document.*` | `statement.*` | `grant.*`.
 */
export async function verifyBundle(bundle: BundleReader, checks: BundleChecks): Promise<VerifiedBundle> {
  const manifest = parseManifest(utf8Of(await bundle.read(MANIFEST_PATH, MAX_MANIFEST_BYTES)));
  const keys = await checks.keys(await documentOf(bundle, KEY_DOCUMENT_PATH));
  const checkedBytes = checks.files === false ? 0 : await compareFiles(bundle, manifest, checks.onBytes);
  const paths = new Set(manifest.files.map(({ path }) => path));
  const resources: VerifiedBundleResource[] = [];
  for (const resource of manifest.resources) {
    const statementJws = await documentOf(bundle, statementPath(resource.rootHash));
    const statement = await verifyStatement(statementJws, keys);
    assertSame(resource, statement);
    const root = await bundle.digest(segmentPath(resource.rootHash, 'root', 0));
    if (root?.sha256 !== resource.rootHash)
      throw new ResourceError('resource.integrity', 'A recipe in the bundle is not the one that was signed.', {
        details: { resource: `${resource.folder}/${resource.name}` },
      });
    const grants: BundledGrant[] = [];
    for (const serial of checks.serial === undefined ? manifest.serials : [checks.serial]) {
      if (!paths.has(grantPath(serial, resource.rootHash))) continue;
      grants.push(await readGrant(bundle, serial, resource.rootHash, statementJws, keys));
    }
    resources.push({ statement, statementJws, grants });
  }
  return { manifest, keys, resources, checkedBytes };
}

async function compareFiles(
  bundle: BundleReader,
  { files }: BundleManifest,
  onBytes: BundleChecks['onBytes'],
): Promise<number> {
  const totalBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  let checkedBytes = 0;
  for (const { path, sizeBytes, sha256 } of files) {
    const found = await bundle.digest(path);
    if (found?.sizeBytes !== sizeBytes || found.sha256 !== sha256)
      throw new ResourceError(
        'resource.integrity',
        `The file ${path} of the bundle is ${found === undefined ? 'missing' : 'not the one that was written'}: copy the bundle again.`,
        { details: { path } },
      );
    checkedBytes += sizeBytes;
    onBytes?.(checkedBytes, totalBytes);
  }
  return checkedBytes;
}

function assertSame(named: BundledResource, statement: Statement): void {
  const same =
    named.folder === statement.folder &&
    named.name === statement.resource &&
    named.version === statement.version &&
    named.kind === statement.kind &&
    named.totalBytes === statement.totalBytes &&
    named.folderId === statement.folderId &&
    named.rootHash === statement.rootHash;
  if (!same) throw invalid('names a version otherwise than its signed statement does');
}

async function readGrant(
  bundle: BundleReader,
  serial: string,
  rootHash: string,
  statementJws: string,
  keys: StatementKeys,
): Promise<BundledGrant> {
  const text = utf8Of(await bundle.read(grantPath(serial, rootHash), MAX_GRANT_FILE_BYTES));
  const grant = parseGrantFile(text, statementJws);
  const token = await readGrantToken(grant.grantToken, keys);
  if (token.statementHash !== statementHash(statementJws) || token.rootHash !== rootHash)
    throw new CryptoError('grant.not-for-statement', 'A grant of the bundle belongs to another version.');
  if (!token.lease || token.grantId !== grant.grantId)
    throw new CryptoError('grant.invalid', 'A grant of the bundle may not be used without a network.');
  return { serial, token, grant };
}

/** The text of a grant's file. */
export function encodeGrantFile({ grantId, grantToken, sealedRecipeKey }: Omit<GrantAnswer, 'urls'>): string {
  const base64Url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');
  return `${JSON.stringify({
    grantId,
    grantToken,
    enc: base64Url(sealedRecipeKey.enc),
    ciphertext: base64Url(sealedRecipeKey.ciphertext),
  })}\n`;
}

/**
 * Reads a grant's file.
 *
 * @param text - Untrusted.
 * @throws ResourceError `bundle.invalid`.
 */
export function parseGrantFile(text: string, statement: string): Omit<GrantAnswer, 'urls'> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid('holds a grant that is not JSON');
  }
  if (typeof value !== 'object' || value === null) throw invalid('holds a bad grant');
  const { grantId, grantToken, enc, ciphertext, ...rest } = value as Record<string, unknown>;
  const point = typeof enc === 'string' ? fromBase64Url(enc, P256_POINT_BYTES) : undefined;
  const sealed = typeof ciphertext === 'string' ? fromBase64Url(ciphertext, MAX_SEALED_KEY_BYTES) : undefined;
  if (
    Object.keys(rest).length > 0 ||
    typeof grantId !== 'string' ||
    !UUID_PATTERN.test(grantId) ||
    typeof grantToken !== 'string' ||
    grantToken.length > MAX_SIGNED_DOCUMENT_CHARS ||
    !JWS.test(grantToken) ||
    point === undefined ||
    sealed === undefined
  )
    throw invalid('holds a bad grant');
  // Whether the verifier has passed it is the Admin API's to say, when it is asked.
  return { grantId, statement, grantToken, sealedRecipeKey: { enc: point, ciphertext: sealed }, verified: false };
}

async function documentOf(bundle: BundleReader, path: string): Promise<string> {
  const text = utf8Of(await bundle.read(path, MAX_SIGNED_DOCUMENT_CHARS)).trim();
  if (!JWS.test(text)) throw invalid(`holds no signed document at ${path}`);
  return text;
}

function utf8Of(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw invalid('holds a file that is not text');
  }
}

function invalid(problem: string): ResourceError {
  return new ResourceError('bundle.invalid', `The bundle ${problem}.`);
}
