import { readTextIfThere, replaceDurably } from '@azaion/adapters/file-store';
import type { WantedResource } from '@azaion/adapters/resource-api';
import type { DeviceStateKey } from '@azaion/identity';
import { NAME_PATTERN } from '@azaion/kernel';
import type { ArchiveVersion } from '@azaion/unlock';

/**
 * The image archive that this device is told to run (desired state), for whoever starts an unlock without naming a version. It is kept over
 * restarts under a MAC by the device's key: a file that was changed counts as none.
 */
export class DesiredImages {
  private readonly asked: Promise<void>;
  private onAsked: () => void = () => undefined;

  private constructor(
    private readonly path: string,
    private readonly key: DeviceStateKey,
    private wanted: ArchiveVersion | undefined,
  ) {
    this.asked = new Promise((resolve) => (this.onAsked = resolve));
    if (wanted !== undefined) this.settle();
  }

  /** Takes up what the last process was told. */
  static async open(path: string, key: DeviceStateKey): Promise<DesiredImages> {
    const text = await readTextIfThere(path);
    return new DesiredImages(path, key, text === undefined ? undefined : parse(key.authentic('desired-images', text)));
  }

  /** The version that was named last; `undefined` when nobody says: the newest of the configured archive is meant then. */
  get current(): ArchiveVersion | undefined {
    return this.wanted;
  }

  /** Resolves when there is an answer to go by, of this process or an earlier one, or none was to be had. */
  known(): Promise<void> {
    return this.asked;
  }

  /** Whoever asks the Admin API has an answer, or could not get one. */
  settle(): void {
    this.onAsked();
  }

  /** What the Admin API says now. @throws when it cannot be kept; it counts all the same. */
  async tell(images: WantedResource | undefined): Promise<void> {
    const wanted =
      images?.version === undefined ? undefined : { folder: images.folder, name: images.name, version: images.version };
    if (JSON.stringify(wanted) === JSON.stringify(this.wanted)) return;
    this.wanted = wanted;
    await replaceDurably(this.path, this.key.authenticate('desired-images', JSON.stringify(wanted ?? null)));
  }
}

function parse(authentic: string | undefined): ArchiveVersion | undefined {
  if (authentic === undefined) return undefined;
  const { folder, name, version } = (JSON.parse(authentic) ?? {}) as Partial<ArchiveVersion>;
  if (folder === undefined || name === undefined || version === undefined) return undefined;
  return NAME_PATTERN.test(folder) && NAME_PATTERN.test(name) ? { folder, name, version } : undefined;
}
