import { DomainError } from '@azaion/kernel';
import type { OpenedResource } from '@azaion/split-resource';
import { ArchiveSource, type ArchiveTraffic, type FoundArchive, type OpenArchive, UnlockError } from '@azaion/unlock';

/** Opens the newest version of the sealed archive for one caller. @throws ResourceError | CryptoError | IdentityError. */
export type OpenSealedArchive = (signal: AbortSignal) => Promise<OpenedResource>;

/** F4: the sealed archive, from packs that were shipped with the device or from the CDN. */
export class SealedArchiveSource extends ArchiveSource {
  constructor(private readonly open: OpenSealedArchive) {
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
    const { folder, resource: name, version, images, totalBytes } = opened.statement;
    return {
      images,
      identity: opened.etag,
      version: { folder, name, version },
      open: () => Promise.resolve(openSealed(opened, totalBytes)),
    };
  }
}

/** The key came with the grant: there is nothing more to get. */
function openSealed(opened: OpenedResource, totalBytes: number): OpenArchive {
  let traffic: ArchiveTraffic = { downloadedBytes: 0, cachedBytes: 0 };
  return {
    totalBytes,
    read: (signal, range) => {
      let ofThisRead: ArchiveTraffic = { downloadedBytes: 0, cachedBytes: 0 };
      const onProgress = ({ downloadedBytes, cachedBytes }: ArchiveTraffic): void => {
        traffic = {
          downloadedBytes: traffic.downloadedBytes + downloadedBytes - ofThisRead.downloadedBytes,
          cachedBytes: traffic.cachedBytes + cachedBytes - ofThisRead.cachedBytes,
        };
        ofThisRead = { downloadedBytes, cachedBytes };
      };
      return opened.read(range, onProgress, signal);
    },
    traffic: () => traffic,
  };
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
