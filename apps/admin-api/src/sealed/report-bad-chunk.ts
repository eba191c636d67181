import type { Clock, ResourceName } from '@azaion/kernel';
import { ResourceError } from '@azaion/split-resource';

import type { Database } from '../persistence/database.js';
import type { Standing } from './current-standing.js';
import type { Folders } from './folders.js';
import { visibleTo } from './read-catalogue.js';

/** Reports of one version that may wait for the verifier; further ones add nothing. */
const MOST_WAITING = 64;

/** Takes reports of chunks that a reader could not open. The reader's word changes nothing: the verifier looks and decides. */
export class ReportBadChunk {
  constructor(
    private readonly database: Database,
    private readonly folders: Folders,
    private readonly clock: Clock,
  ) {}

  /**
   * @param chunk - Index in the version, from 0, untrusted; the verifier drops what the version does not have.
   * @throws ResourceError `resource.not-found`; IdentityError `folder.forbidden` | `folder.attestation-required`.
   */
  async run({ folder, name }: ResourceName, version: number, chunk: number, standing: Standing): Promise<void> {
    await this.folders.assertMayOpen(folder, standing);
    const on = this.database.queries;
    const found = await on
      .selectFrom('versions')
      .innerJoin('resources', 'resources.id', 'versions.resource_id')
      .innerJoin('folders', 'folders.id', 'resources.folder_id')
      .select('versions.resource_id')
      .where('folders.name', '=', folder)
      .where('resources.name', '=', name)
      .where('versions.version', '=', version)
      .where('versions.state', '=', 'live')
      .where(visibleTo(standing))
      .executeTakeFirst();
    if (!found) throw new ResourceError('resource.not-found', 'There is no such resource or version.');
    const { waiting } = await on
      .selectFrom('chunk_reports')
      .select((select) => select.fn.countAll<number>().as('waiting'))
      .where('resource_id', '=', found.resource_id)
      .where('version', '=', version)
      .executeTakeFirstOrThrow();
    if (waiting >= MOST_WAITING) return;
    await on
      .insertInto('chunk_reports')
      .values({
        resource_id: found.resource_id,
        version,
        chunk,
        reporter_id: standing.userId,
        reported_at: new Date(this.clock.nowMs()),
      })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  }
}
