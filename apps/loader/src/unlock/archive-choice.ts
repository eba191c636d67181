import { open, readFile } from 'node:fs/promises';

import { LegacyArchiveSource, parseAllowList } from '@azaion/adapters/legacy-archive';
import { type ArchiveSource, type ExpectedImage, type KeySource, UnlockError } from '@azaion/unlock';

import type { LoaderConfig } from '../config.js';
import { type OpenSealedArchive, SealedArchiveSource } from './sealed-archive-source.js';

/** POSIX ustar. */
const TAR_MAGIC = Buffer.from('ustar');
const TAR_MAGIC_AT = 257;

/** How one caller opens either kind of archive. */
export interface ArchiveKeys {
  readonly openSealed: OpenSealedArchive;
  readonly fragments: KeySource;
}

/** Which archive is unlocked: the encrypted file of the older format at `IMAGES_PATH`, if there is one, else the sealed resource. */
export class ArchiveChoice {
  constructor(private readonly config: LoaderConfig) {}

  async sourceFor({ openSealed, fragments }: ArchiveKeys): Promise<ArchiveSource> {
    const { imagesPath: path, legacyArchiveName: name } = this.config;
    return (await isEncryptedFile(path))
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

/** A file that is no tar: a tar at this place is a bundle, whose archive is sealed. */
async function isEncryptedFile(path: string): Promise<boolean> {
  const file = await open(path, 'r').catch((error: unknown) => (error as NodeJS.ErrnoException).code);
  // Something that cannot be opened is there: reading it will say why.
  if (file === undefined || typeof file === 'string') return file !== 'ENOENT';
  try {
    if (!(await file.stat()).isFile()) return false;
    const { buffer } = await file.read(Buffer.alloc(TAR_MAGIC.length), 0, TAR_MAGIC.length, TAR_MAGIC_AT);
    return !buffer.equals(TAR_MAGIC);
  } finally {
    await file.close();
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
