import { type Clock, resourcePath } from '@azaion/kernel';
import { sql } from 'kysely';

import { AdminError } from '../errors.js';
import type { Database } from '../persistence/database.js';
import {
  type DesiredState,
  type EffectiveState,
  effectiveState,
  type GroupDesired,
  namedBy,
  NOTHING_DESIRED,
  type WantedVersion,
} from './desired-state.js';
import { newestVersions } from './newest-versions.js';

/** A device that polls counts as seen; it is written down no more often than this. */
const SEEN_AGAIN_AFTER_MS = 10 * 60_000;

/** What a device is told about one resource. */
export interface ToldResource {
  readonly folder: string;
  readonly name: string;
  readonly version: WantedVersion;
  /** For `latest`: which version that is right now; missing while there is none. */
  readonly newest?: number;
}

/** What a device is told. */
export interface ToldState {
  readonly resources: readonly ToldResource[];
  readonly images: ToldResource | null;
}

/** Reads what a device should hold and run: its own wishes and its groups' in one. Polled by the whole fleet, so it costs at most two small queries. */
export class DesiredOfDevice {
  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
  ) {}

  /** What the device is told. It is seen by asking. @throws AdminError `device.not-found`. */
  async told(serial: string): Promise<ToldState> {
    const device = await this.read(serial);
    await this.seen(device.id, device.last_seen_at);
    const { resources, images } = effectiveState(device.own, device.groups);
    const latest = namedBy({ resources, images }).filter(({ version }) => version === 'latest');
    const newest = await newestVersions(this.database.queries, latest, serial);
    const tell = ({ folder, name, version }: ToldResource): ToldResource => {
      const found = version === 'latest' ? newest.get(resourcePath({ folder, name })) : undefined;
      return { folder, name, version, ...(found === undefined ? {} : { newest: found.version }) };
    };
    return { resources: resources.map(tell), images: images === null ? null : tell(images) };
  }

  /** The wishes for the device alone, and what it gets with those of its groups. @throws AdminError `device.not-found`. */
  async wishes(serial: string): Promise<{ readonly own: DesiredState; readonly effective: EffectiveState }> {
    const { own, groups } = await this.read(serial);
    return { own, effective: effectiveState(own, groups) };
  }

  private async read(serial: string) {
    const row = await this.database.queries
      .selectFrom('devices')
      .leftJoin('device_desired', 'device_desired.device_id', 'devices.id')
      .select(['devices.id', 'devices.last_seen_at', 'device_desired.desired as own'])
      .select((eb) =>
        eb
          .selectFrom('group_members')
          .innerJoin('groups', 'groups.name', 'group_members.group_name')
          .whereRef('group_members.device_id', '=', 'devices.id')
          .select(
            sql<readonly GroupDesired[] | null>`jsonb_agg(jsonb_build_object(
              'name', groups.name, 'priority', groups.priority, 'desired', groups.desired))`.as('groups'),
          )
          .as('groups'),
      )
      .where('devices.serial', '=', serial)
      .executeTakeFirst();
    if (!row) throw new AdminError('device.not-found', 'There is no such device.');
    return { ...row, own: row.own ?? NOTHING_DESIRED, groups: row.groups ?? [] };
  }

  private async seen(deviceId: string, lastSeenAt: Date | null): Promise<void> {
    const nowMs = this.clock.nowMs();
    if (nowMs - (lastSeenAt?.getTime() ?? 0) < SEEN_AGAIN_AFTER_MS) return;
    await this.database.queries
      .updateTable('devices')
      .set({ last_seen_at: new Date(nowMs) })
      .where('id', '=', deviceId)
      .execute();
  }
}
