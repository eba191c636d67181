import { assertInScope, SEGMENT_KINDS, type SegmentKind, type StatementKeys, verifyGrantToken } from '@azaion/crypto';

import { type Clock, equalBytes } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import type { Recipient } from '../fetch/recipient.js';
import type { HeldLeases } from '../leases/held-leases.js';
import type { LeaseName } from '../ports/lease-store.js';
import type { SegmentStore } from '../ports/segment-store.js';
import { MAX_ROOT_BYTES, MAX_SEGMENT_BYTES } from '../recipe/limits.js';
import type { BundleReader } from './bundle-reader.js';
import { verifyBundle } from './verify-bundle.js';

const SEGMENT = /^segments\/([0-9a-f]{64})\/(root|chunks|packs)\/([0-9]+)$/;

/** What {@link ImportBundle} works with. */
export interface ImportBundleDependencies {
  /** Takes the bundle's key document when it is newer than the one at hand, by the pinned root. @throws CryptoError `key-document.*`. */
  readonly adoptKeys: (document: string) => Promise<StatementKeys>;
  readonly leases: Pick<HeldLeases, 'carried'>;
  readonly segments: SegmentStore;
  /** The device: its serial and its key. */
  readonly recipient: Recipient & { readonly serial: string };
  /** Effective time. */
  readonly clock: Clock;
}

/** What came of an import. */
export interface ImportedBundle {
  /** Versions that the device can open from now on, as long as their leases hold. */
  readonly opened: readonly LeaseName[];
  /** Versions in the bundle that it has no grant for this device of, or one that does not hold any more, or that the Admin API has refused since. */
  readonly refused: readonly (LeaseName & { readonly reason: string })[];
}

/**
 * Takes over from a bundle what this device was granted: keys, leases and recipe parts, with the checks of a fetch. The packs stay where they
 * are: the bundle is a source of packs. No network is used.
 */
export class ImportBundle {
  constructor(private readonly using: ImportBundleDependencies) {}

  /**
   * Repeating it changes nothing. Files are not hashed here: everything is checked, byte for byte, when it is opened.
   *
   * @throws ResourceError `bundle.not-for-device` when no grant in it is for this device; and what `verifyBundle` throws.
   */
  async run(bundle: BundleReader): Promise<ImportedBundle> {
    const { leases, recipient, adoptKeys, clock } = this.using;
    const { serial } = recipient;
    const found = await verifyBundle(bundle, { keys: adoptKeys, serial, files: false });
    if (!found.manifest.serials.includes(serial))
      throw new ResourceError(
        'bundle.not-for-device',
        `The bundle holds no grants for this device: make one with "azaion bundle create --device ${serial}".`,
        { details: { serial } },
      );
    const opened: LeaseName[] = [];
    const refused: (LeaseName & { readonly reason: string })[] = [];
    for (const { statement, statementJws, grants } of found.resources) {
      const name = { resource: { folder: statement.folder, name: statement.resource }, version: statement.version };
      try {
        const [mine] = grants;
        if (mine === undefined) throw new ResourceError('resource.forbidden', 'It holds no grant for this device.');
        assertInScope(statement, serial);
        const token = await verifyGrantToken(mine.grant.grantToken, found.keys, {
          statement,
          statementJws,
          recipientPoint: recipient.point,
          nonce: undefined,
          nowSeconds: Math.floor(clock.nowMs() / 1000),
        });
        await this.keepSegments(bundle, found.manifest.files, statement.rootHash);
        await leases.carried(mine.grant, statement, token);
        opened.push(name);
      } catch (error) {
        if (!(error instanceof Error) || !('code' in error)) throw error;
        refused.push({ ...name, reason: error.message });
      }
    }
    return { opened, refused };
  }

  private async keepSegments(
    bundle: BundleReader,
    files: readonly { readonly path: string }[],
    rootHash: string,
  ): Promise<void> {
    for (const { path } of files) {
      const [, hash, kind = '', index = ''] = SEGMENT.exec(path) ?? [];
      if (hash !== rootHash || !isKind(kind)) continue;
      const bytes = await bundle.read(path, kind === 'root' ? MAX_ROOT_BYTES : MAX_SEGMENT_BYTES);
      const key = `${rootHash}/${kind}/${index}`;
      const kept = await this.using.segments.read(key);
      if (kept === undefined || !equalBytes(kept, bytes)) await this.using.segments.write(key, bytes);
    }
  }
}

function isKind(text: string): text is SegmentKind {
  return Object.hasOwn(SEGMENT_KINDS, text);
}
