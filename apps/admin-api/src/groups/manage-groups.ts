import type { Actor, AuditLog } from '../audit/audit-log.js';
import type { GroupWishes } from '../desired/set-desired.js';
import { AdminError } from '../errors.js';
import type { Database, Queries } from '../persistence/database.js';

/** A group as administrators see it. */
export interface GroupView {
  readonly name: string;
  readonly priority: number;
  /** How many devices belong to it. */
  readonly devices: number;
  readonly updatedAt: Date;
}

/** Looks at groups and says which devices belong to them. A group comes into being with its desired state. */
export class ManageGroups {
  constructor(
    private readonly database: Database,
    private readonly audit: AuditLog,
  ) {}

  /** One page in the order of names, after `cursor`, and where the next begins. */
  async list(
    limit: number,
    cursor: string | undefined,
  ): Promise<{ readonly groups: readonly GroupView[]; readonly cursor: string | undefined }> {
    let selection = this.database.queries
      .selectFrom('groups')
      .select(['name', 'priority', 'updated_at'])
      .select((eb) =>
        eb
          .selectFrom('group_members')
          .whereRef('group_name', '=', 'groups.name')
          .select(({ fn }) => fn.countAll<number>().as('count'))
          .as('devices'),
      )
      .orderBy('name')
      .limit(limit + 1);
    if (cursor !== undefined) selection = selection.where('name', '>', cursor);
    const rows = await selection.execute();
    const groups = rows.slice(0, limit).map(({ name, priority, devices, updated_at }) => ({
      name,
      priority,
      devices: devices ?? 0,
      updatedAt: updated_at,
    }));
    return { groups, cursor: rows.length > limit ? groups.at(-1)?.name : undefined };
  }

  /** @throws AdminError `group.not-found`. */
  async wishes(name: string): Promise<GroupWishes> {
    const group = await this.database.queries
      .selectFrom('groups')
      .select(['priority', 'desired'])
      .where('name', '=', name)
      .executeTakeFirst();
    if (!group) throw noGroup();
    return { priority: group.priority, ...group.desired };
  }

  /** Its devices stay; what only this group wanted of them is wanted no more. @throws AdminError `group.not-found`. */
  async remove(name: string, actor: Actor): Promise<void> {
    await this.database.transaction(async (on) => {
      const removed = await on.deleteFrom('groups').where('name', '=', name).returning('name').executeTakeFirst();
      if (!removed) throw noGroup();
      await this.audit.record(on, { event: 'group.removed', actor, subject: name });
    });
  }

  /** No change where the device is in the group already. @throws AdminError `group.not-found` | `device.not-found`. */
  async add(name: string, serial: string, actor: Actor): Promise<void> {
    await this.database.transaction(async (on) => {
      const deviceId = await member(on, name, serial);
      const { numInsertedOrUpdatedRows: added } = await on
        .insertInto('group_members')
        .values({ group_name: name, device_id: deviceId })
        .onConflict((conflict) => conflict.doNothing())
        .executeTakeFirstOrThrow();
      if (added === 0n) return;
      await this.audit.record(on, { event: 'group.device-added', actor, subject: name, details: { serial } });
    });
  }

  /** No change where the device is not in the group. @throws AdminError `group.not-found` | `device.not-found`. */
  async take(name: string, serial: string, actor: Actor): Promise<void> {
    await this.database.transaction(async (on) => {
      const deviceId = await member(on, name, serial);
      const { numDeletedRows: taken } = await on
        .deleteFrom('group_members')
        .where('group_name', '=', name)
        .where('device_id', '=', deviceId)
        .executeTakeFirstOrThrow();
      if (taken === 0n) return;
      await this.audit.record(on, { event: 'group.device-removed', actor, subject: name, details: { serial } });
    });
  }
}

/** The device's id, once both are known to exist; the group stays while the transaction lasts. */
async function member(on: Queries, name: string, serial: string): Promise<string> {
  const group = await on.selectFrom('groups').select('name').where('name', '=', name).forKeyShare().executeTakeFirst();
  if (!group) throw noGroup();
  const device = await on.selectFrom('devices').select('id').where('serial', '=', serial).executeTakeFirst();
  if (!device) throw new AdminError('device.not-found', 'There is no such device.');
  return device.id;
}

function noGroup(): AdminError {
  return new AdminError('group.not-found', 'There is no such group: it is made with its desired state.');
}
