import { type Clock, resourcePath } from '@azaion/kernel';
import { sql } from 'kysely';

import type { Actor, AuditLog } from '../audit/audit-log.js';
import { AdminError } from '../errors.js';
import type { Database, Queries } from '../persistence/database.js';
import { type DesiredResource, type DesiredState, namedBy } from './desired-state.js';
import { newestVersions, unavailableVersions } from './newest-versions.js';

/** Wishes for a group. */
export interface GroupWishes extends DesiredState {
  readonly priority: number;
}

/** Looks at what is wanted before it is replaced, so that one administrator does not undo what another has just done. @throws when it must not be replaced. */
export type Precondition<State> = (current: State | undefined) => void;

/** Says what a device or group should hold and run. Takes effect with each device's next question. */
export class SetDesired {
  constructor(
    private readonly database: Database,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /**
   * Replaces the wishes for a group, and makes the group where there is none.
   *
   * @throws AdminError `desired.unavailable`; what the precondition throws.
   */
  async forGroup(
    name: string,
    wishes: GroupWishes,
    precondition: Precondition<GroupWishes>,
    actor: Actor,
  ): Promise<void> {
    await this.database.transaction(async (on) => {
      // A group that is not there yet has no row to lock: of two that make it at once the second looks at what the first has made.
      await sql`select pg_advisory_xact_lock(hashtext(${`group ${name}`}))`.execute(on);
      const known = await on.selectFrom('groups').selectAll().where('name', '=', name).forUpdate().executeTakeFirst();
      precondition(known && { priority: known.priority, ...known.desired });
      await assertAvailable(on, wishes, undefined);
      const now = new Date(this.clock.nowMs());
      const { priority, ...desired } = wishes;
      await on
        .insertInto('groups')
        .values({ name, priority, desired: JSON.stringify(desired), created_at: now, updated_at: now })
        .onConflict((conflict) =>
          conflict.column('name').doUpdateSet({ priority, desired: JSON.stringify(desired), updated_at: now }),
        )
        .execute();
      await this.audit.record(on, {
        event: 'group.desired-set',
        actor,
        subject: name,
        details: { priority, ...described(desired) },
      });
    });
  }

  /**
   * Replaces the wishes for one device.
   *
   * @throws AdminError `device.not-found` | `desired.unavailable`; what the precondition throws.
   */
  async forDevice(
    serial: string,
    desired: DesiredState,
    precondition: Precondition<DesiredState>,
    actor: Actor,
  ): Promise<void> {
    await this.database.transaction(async (on) => {
      const device = await on
        .selectFrom('devices')
        .select('id')
        .where('serial', '=', serial)
        .forUpdate()
        .executeTakeFirst();
      if (!device) throw new AdminError('device.not-found', 'There is no such device.');
      const known = await on
        .selectFrom('device_desired')
        .select('desired')
        .where('device_id', '=', device.id)
        .executeTakeFirst();
      precondition(known?.desired);
      await assertAvailable(on, desired, serial);
      const row = { desired: JSON.stringify(desired), updated_at: new Date(this.clock.nowMs()) };
      await on
        .insertInto('device_desired')
        .values({ device_id: device.id, ...row })
        .onConflict((conflict) => conflict.column('device_id').doUpdateSet(row))
        .execute();
      await this.audit.record(on, {
        event: 'device.desired-set',
        actor,
        subject: serial,
        details: described(desired),
      });
    });
  }
}

/** A typing mistake must not wait in the field for a version that never comes. */
async function assertAvailable(on: Queries, desired: DesiredState, serial: string | undefined): Promise<void> {
  const missing = await unavailableVersions(on, namedBy(desired), serial);
  if (missing.length > 0)
    throw new AdminError(
      'desired.unavailable',
      `There is no such version to be had: ${missing.map(textOf).join(', ')}. Publish it first, or correct the name.`,
    );
  if (desired.images === null) return;
  const { images } = desired;
  const newest = await newestVersions(on, [images], serial);
  if (newest.get(resourcePath(images))?.kind !== 'images')
    throw new AdminError('desired.unavailable', `${textOf(images)} is no image archive: publish it as one.`);
}

function described({ resources, images }: DesiredState): Record<string, string> {
  return { resources: resources.map(textOf).join(' '), images: images === null ? '' : textOf(images) };
}

function textOf(wanted: DesiredResource): string {
  return `${resourcePath(wanted)}@${wanted.version}`;
}
