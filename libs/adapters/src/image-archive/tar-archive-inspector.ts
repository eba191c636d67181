import type { StatementImage } from '@azaion/crypto';
import { ArchiveInspector, type ArchiveSurvey, type RangedArchive } from '@azaion/unlock';

import { ImageArchiveReader } from './image-archive-reader.js';
import { surveyArchive } from './survey-archive.js';

/** What is kept back until the archive was accepted. `docker save` writes its manifest last, well within this. */
const HELD_BACK_BYTES = 1024 * 1024;

/** Inspects `docker save` archives and OCI layouts on their way to the engine. Holds back at most 1 MiB and one piece. */
export class TarArchiveInspector extends ArchiveInspector {
  override survey(archive: RangedArchive): Promise<ArchiveSurvey | undefined> {
    return surveyArchive(archive);
  }

  override async *passThrough(
    archive: AsyncIterable<Uint8Array>,
    accept: (images: readonly StatementImage[]) => void,
  ): AsyncGenerator<Uint8Array> {
    const reader = new ImageArchiveReader();
    const held: Uint8Array[] = [];
    let heldBytes = 0;
    try {
      for await (const bytes of archive) {
        await reader.write(bytes);
        held.push(bytes);
        heldBytes += bytes.length;
        for (let first = held[0]; first !== undefined && heldBytes - first.length >= HELD_BACK_BYTES; first = held[0]) {
          held.shift();
          heldBytes -= first.length;
          yield first;
        }
      }
      accept(await reader.end());
      yield* held;
    } finally {
      reader.destroy();
    }
  }
}
