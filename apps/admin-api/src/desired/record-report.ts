import type { ResourceName } from '@azaion/kernel';
import type { Clock } from '@azaion/kernel';

import { AdminError } from '../errors.js';
import type { Database } from '../persistence/database.js';

/** A version that a device holds. */
export interface HeldVersion extends ResourceName {
  readonly version: number;
}

/** What a device says about itself. Nothing here has been verified: it is for the eyes of operators. */
export interface DeviceReport {
  readonly loaderVersion: string;
  /** What its keys are tied to. */
  readonly binding: string;
  readonly resources: readonly HeldVersion[];
  readonly images: (HeldVersion & { readonly state: string }) | null;
}

/** Keeps each device's last report. It changes nothing that anybody is allowed, so it is not in the audit log. */
export class RecordReport {
  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
  ) {}

  /** @throws AdminError `device.not-found`. */
  async run(serial: string, report: DeviceReport): Promise<void> {
    const now = new Date(this.clock.nowMs());
    await this.database.transaction(async (on) => {
      const device = await on
        .updateTable('devices')
        .set({ last_seen_at: now })
        .where('serial', '=', serial)
        .returning('id')
        .executeTakeFirst();
      if (!device) throw new AdminError('device.not-found', 'There is no such device.');
      const row = {
        loader_version: report.loaderVersion,
        binding: report.binding,
        resources: JSON.stringify(report.resources),
        images: report.images === null ? null : JSON.stringify(report.images),
        reported_at: now,
      };
      await on
        .insertInto('device_reports')
        .values({ device_id: device.id, ...row })
        .onConflict((conflict) => conflict.column('device_id').doUpdateSet(row))
        .execute();
    });
  }
}
