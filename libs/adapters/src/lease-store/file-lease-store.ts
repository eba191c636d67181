import { rm } from 'node:fs/promises';
import { join } from 'node:path';

import { P256_POINT_BYTES } from '@azaion/crypto';
import { fromBase64Url, isValidName, type ResourceName, resourceName, toBase64Url, UUID_PATTERN } from '@azaion/kernel';
import { type Lease, type LeaseName, LeaseStore } from '@azaion/split-resource';

import { namesIn, readTextIfThere, replaceDurably } from '../file-store/index.js';

const FILE_NAME = /^([1-9][0-9]{0,9})\.json$/;
const JWS = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;
/** Two signed documents at their longest and what stands around them. */
const MAX_FILE_CHARS = 600 * 1024;
const MAX_SEALED_KEY_BYTES = 1024;

/** Keeps leases as files `folder/name/version.json`, each replaced as a whole. */
export class FileLeaseStore extends LeaseStore {
  constructor(private readonly directory: string) {
    super();
  }

  override async names(): Promise<readonly LeaseName[]> {
    const names: LeaseName[] = [];
    for (const folder of (await namesIn(this.directory)).filter(isValidName))
      for (const name of (await namesIn(join(this.directory, folder))).filter(isValidName))
        for (const version of await this.versions({ folder, name }))
          names.push({ resource: { folder, name }, version });
    return names;
  }

  override async of(resource: ResourceName): Promise<readonly Lease[]> {
    const leases: Lease[] = [];
    for (const version of await this.versions(resource)) {
      const grant = parseGrant(await readTextIfThere(this.pathOf({ resource, version })));
      // A damaged file is no lease: the next grant takes its place.
      if (grant !== undefined)
        leases.push({ resource: { folder: resource.folder, name: resource.name }, version, grant });
    }
    return leases;
  }

  override async keep(lease: Lease): Promise<void> {
    const { grantId, statement, grantToken, sealedRecipeKey, verified } = lease.grant;
    const enc = toBase64Url(sealedRecipeKey.enc);
    const ciphertext = toBase64Url(sealedRecipeKey.ciphertext);
    await replaceDurably(
      this.pathOf(lease),
      JSON.stringify({ grantId, statement, grantToken, enc, ciphertext, verified }),
    );
  }

  override async drop(name: LeaseName): Promise<void> {
    await rm(this.pathOf(name), { force: true });
  }

  private async versions(resource: ResourceName): Promise<readonly number[]> {
    const versions = (await namesIn(this.directoryOf(resource))).map((name) => Number(FILE_NAME.exec(name)?.[1] ?? 0));
    return versions.filter((version) => version > 0).sort((left, right) => right - left);
  }

  private pathOf({ resource, version }: LeaseName): string {
    return join(this.directoryOf(resource), `${String(version)}.json`);
  }

  /** @throws NameError `name.invalid` before any path is made of it. */
  private directoryOf(resource: ResourceName): string {
    const { folder, name } = resourceName(resource.folder, resource.name);
    return join(this.directory, folder, name);
  }
}

function parseGrant(text: string | undefined): Lease['grant'] | undefined {
  if (text === undefined || text.length > MAX_FILE_CHARS) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { grantId, statement, grantToken, enc, ciphertext, verified } = value as Record<string, unknown>;
  if (!matches(grantId, UUID_PATTERN) || !matches(statement, JWS) || !matches(grantToken, JWS)) return undefined;
  const sealedRecipeKey = { enc: bytes(enc, P256_POINT_BYTES), ciphertext: bytes(ciphertext, MAX_SEALED_KEY_BYTES) };
  if (sealedRecipeKey.enc === undefined || sealedRecipeKey.ciphertext === undefined) return undefined;
  return {
    grantId,
    statement,
    grantToken,
    sealedRecipeKey: { enc: sealedRecipeKey.enc, ciphertext: sealedRecipeKey.ciphertext },
    verified: verified === true,
  };
}

function matches(value: unknown, pattern: RegExp): value is string {
  return typeof value === 'string' && pattern.test(value);
}

function bytes(value: unknown, maxBytes: number): Uint8Array | undefined {
  return typeof value === 'string' ? fromBase64Url(value, maxBytes) : undefined;
}
