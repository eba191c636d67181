import { readFile, stat } from 'node:fs/promises';

import { LegacyArchiveSource, parseAllowList } from '@azaion/adapters/legacy-archive';
import { type ArchiveSource, type ExpectedImage, type KeySource, UnlockError } from '@azaion/unlock';

import { type LoaderConfig } from '../config.js';
import { type OpenSealedArchive, SealedArchiveSource } from './sealed-archive-source.js';

/** How one caller opens either kind of archive. */
export interface ArchiveKeys {
  readonly openSealed: OpenSealedArchive;
  readonly fragments: KeySource;
}

/** Which archive is unlocked: the file of the older format at `IMAGES_PATH`, if there is one, else the sealed resource. */
export class ArchiveChoice {
  constructor(private readonly config: LoaderConfig) {}

  async sourceFor({ openSealed, fragments }: ArchiveKeys): Promise<ArchiveSource> {
    const { imagesPath: path, legacyArchiveName: name } = this.config;
    const isFile = await stat(path).then(
      (found) => found.isFile(),
      () => false,
    );
    return isFile
      ? new LegacyArchiveSource({ path, name, images: () => this.expectedInLegacy() }, fragments)
      : new SealedArchiveSource(openSealed);
  }

  private async expectedInLegacy(): Promise<readonly ExpectedImage[]> {
    const { unlockAllowedImagesFile, unlockImages, apiVersion } = this.config;
    if (unlockAllowedImagesFile !== undefined) return parseAllowList(await allowListText(unlockAllowedImagesFile));
    return unlockImages.map((name) => ({
      reference: `${name}:${apiVersion}`,
      configDigest: null,
      manifestDigest: null,
    }));
  }
}

/** Readable at the start of the Loader; it may have gone since. */
async function allowListText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new UnlockError('unlock.allow-list-invalid', 'The list of allowed images cannot be read.', { cause });
  }
}
