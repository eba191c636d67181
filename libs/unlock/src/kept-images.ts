import { UnlockError } from './errors.js';
import { type ArchiveName } from './ports/archive-source.js';
import { type EngineImage } from './ports/image-runtime.js';
import { type UnlockRecord } from './ports/unlock-records.js';

/** What is kept across restarts beside the state of the last run. */
export type KeptFacts = Pick<UnlockRecord, 'loaded' | 'lastGood' | 'servicesDue' | 'rollbackDue' | 'refused'>;

/** Which images the engine holds, which the services ran from last, which they did not run from, and what of that was begun and did not end. */
export class KeptImages {
  constructor(private current: KeptFacts) {}

  get facts(): KeptFacts {
    return this.current;
  }

  /** What the archive's images are in the engine, where they are what was loaded from it; nothing else proves them. */
  proofOf(archive: ArchiveName): readonly EngineImage[] {
    const { loaded } = this.current;
    return loaded?.identity === archive.identity ? loaded.images : [];
  }

  /** Whether the services run from the images of this archive. */
  isRunning(archive: ArchiveName): boolean {
    const { servicesDue, lastGood } = this.current;
    return !servicesDue && lastGood?.identity === archive.identity;
  }

  /** Whether the services were not healthy with the images of this archive. */
  isRefused(archive: ArchiveName): boolean {
    return archive.identity === this.current.refused;
  }

  /** What was refused is tried again. */
  forgetRefusal(): void {
    this.change({ refused: null });
  }

  /** The tags in the engine mean the images of this archive. */
  areLoaded({ identity, version }: ArchiveName, images: readonly EngineImage[]): void {
    this.change({ loaded: { identity, version, images } });
  }

  /** Services are about to be replaced. */
  beginReplacing(): void {
    this.change({ servicesDue: true });
  }

  /** The services are healthy with what was loaded last. */
  areHealthy(): void {
    this.change({ lastGood: this.current.loaded, servicesDue: false, rollbackDue: false, refused: null });
  }

  /** The services do not run from the images of this archive. Unhealthy ones are not to be tried again, others may have been stopped by chance. */
  areGivenUp(archive: ArchiveName | null, reason: unknown): void {
    if (isUnhealthy(reason)) this.refuse(archive);
  }

  /** The way back to the last good images is about to begin. */
  beginRollBack(archive: ArchiveName | null, reason: UnlockError): void {
    this.change({ rollbackDue: true });
    this.areGivenUp(archive, reason);
  }

  /** The last good images run again where those of this archive did not: whatever it was, it is with them, unless somebody cancelled. */
  areRolledBack(archive: ArchiveName | null, reason: UnlockError): void {
    this.change({ loaded: this.current.lastGood, servicesDue: false, rollbackDue: false });
    if (reason.code !== 'unlock.cancelled') this.refuse(archive);
  }

  private refuse(archive: ArchiveName | null): void {
    this.change({ refused: archive?.identity ?? null });
  }

  private change(facts: Partial<KeptFacts>): void {
    this.current = { ...this.current, ...facts };
  }
}

function isUnhealthy(error: unknown): boolean {
  return error instanceof UnlockError && error.code === 'unlock.services-unhealthy';
}
