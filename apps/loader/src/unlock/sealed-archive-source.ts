import { DomainError } from '@azaion/kernel';
import { type OpenedResource } from '@azaion/split-resource';
import { ArchiveSource, type FoundArchive, UnlockError } from '@azaion/unlock';

/** Opens the newest version of the sealed archive for one caller. @throws ResourceError | CryptoError | IdentityError. */
export type OpenArchive = (signal: AbortSignal) => Promise<OpenedResource>;

/** F4: the sealed archive, from packs that were shipped with the device or from the CDN. */
export class SealedArchiveSource extends ArchiveSource {
  constructor(private readonly open: OpenArchive) {
    super();
  }

  override async find(signal: AbortSignal): Promise<FoundArchive> {
    const opened = await this.open(signal).catch((error: unknown) => {
      throw callersAnswer(error);
    });
    if (
      opened.statement.kind !== 'images' ||
      opened.statement.images === undefined ||
      opened.statement.images.length === 0
    )
      throw new UnlockError(
        'unlock.archive-invalid',
        'The resource that should be unlocked holds no images. Publish it as an image archive.',
      );
    return {
      images: opened.statement.images,
      totalBytes: opened.statement.totalBytes,
      read: (readSignal) => opened.read(undefined, undefined, readSignal),
    };
  }
}

/** What the caller can act on, in the words of an unlock; everything else as it is. */
function callersAnswer(cause: unknown): unknown {
  switch (isDomainError(cause) ? cause.code : undefined) {
    case 'resource.not-found':
      return new UnlockError('unlock.archive-not-found', 'Encrypted archive not found', { cause });
    case 'resource.forbidden':
    case 'api.forbidden':
    case 'folder.forbidden':
      return new UnlockError('unlock.forbidden', 'This account may not open the image archive.', { cause });
    case 'api.unauthorized':
      return new UnlockError(
        'unlock.credentials-rejected',
        'The Admin API does not accept this session: log in again.',
        {
          cause,
        },
      );
    default:
      return cause;
  }
}

function isDomainError(error: unknown): error is DomainError {
  return error instanceof DomainError;
}
