import type { Actor, AuditLog } from '../audit/audit-log.js';
import type { DeviceReport } from '../desired/record-report.js';
import { AdminError } from '../errors.js';
import type { Database } from '../persistence/database.js';
import type { Sessions } from '../tokens/sessions.js';

/** A device as administrators see it. */
export interface DeviceView {
  readonly serial: string;
  readonly email: string;
  readonly status: 'registered' | 'enrolled' | 'revoked';
  readonly createdAt: Date;
  readonly enrolledAt: Date | undefined;
  /** What its TPM has proven; `undefined` for a device that is not attested. */
  readonly attestation: DeviceAttestation | undefined;
  readonly lastSeenAt: Date | undefined;
  /** In the order of names. */
  readonly groups: readonly string[];
  readonly report: (DeviceReport & { readonly reportedAt: Date }) | undefined;
}

/** What the evidence of a device's TPM has shown at its enrolment. */
export interface DeviceAttestation {
  readonly attestedAt: Date;
  /** `Name` of the TPM's endorsement key, hexadecimal: what stands in a list of allowed ones. */
  readonly endorsementName: string;
  /** Registers of the quote, as tpm2-tools write them. */
  readonly pcrs: string;
  /** Digest of their values, hexadecimal: what stands in a list of accepted boot states. */
  readonly pcrDigest: string;
}

/** Which devices to list. */
export interface DeviceQuery {
  readonly limit: number;
  /** Where the page before ended. */
  readonly cursor: string | undefined;
  readonly status: DeviceView['status'] | undefined;
  /** Members of this group only. */
  readonly group: string | undefined;
}

/** Looks at devices, revokes them and lets them enrol again. */
export class ManageDevices {
  constructor(
    private readonly database: Database,
    private readonly sessions: Sessions,
    private readonly audit: AuditLog,
  ) {}

  /** One page in the order of serials, after `cursor`, and where the next begins. */
  async list({
    limit,
    cursor,
    status,
    group,
  }: DeviceQuery): Promise<{ readonly devices: readonly DeviceView[]; readonly cursor: string | undefined }> {
    let selection = this.views()
      .orderBy('devices.serial')
      .limit(limit + 1);
    if (status !== undefined) selection = selection.where('devices.status', '=', status);
    if (group !== undefined)
      selection = selection.where((eb) =>
        eb.exists(
          eb
            .selectFrom('group_members')
            .select('group_name')
            .where('group_name', '=', group)
            .whereRef('device_id', '=', 'devices.id'),
        ),
      );
    if (cursor !== undefined) selection = selection.where('devices.serial', '>', cursor);
    const rows = await selection.execute();
    const devices = rows.slice(0, limit).map(toView);
    return { devices, cursor: rows.length > limit ? devices.at(-1)?.serial : undefined };
  }

  /** @throws AdminError `device.not-found`. */
  async bySerial(serial: string): Promise<DeviceView> {
    const row = await this.views().where('devices.serial', '=', serial).executeTakeFirst();
    if (!row) throw notFound();
    return toView(row);
  }

  /** No grant from now on. @throws AdminError `device.not-found`. */
  async revoke(serial: string, actor: Actor): Promise<void> {
    await this.change(serial, 'revoked', 'device.revoked', actor);
  }

  /**
   * Forgets the device's keys and re-arms its password.
   *
   * @param newBootState - Forgets the boot state that it was first attested in, too: the next one counts.
   * @throws AdminError `device.not-found`.
   */
  async reset(serial: string, newBootState: boolean, actor: Actor): Promise<void> {
    await this.change(serial, 'registered', 'device.reset', actor, { newBootState });
  }

  private async change(
    serial: string,
    status: 'registered' | 'revoked',
    event: string,
    actor: Actor,
    details?: { readonly newBootState: boolean },
  ): Promise<void> {
    await this.database.transaction(async (on) => {
      const device = await on
        .updateTable('devices')
        .set(
          status === 'registered'
            ? { status, signing_key: null, agreement_key: null, enrolled_at: null, attested_at: null }
            : { status },
        )
        .where('serial', '=', serial)
        .returning(['id', 'user_id'])
        .executeTakeFirst();
      if (!device) throw notFound();
      await on.deleteFrom('device_challenges').where('device_id', '=', device.id).execute();
      await on.deleteFrom('pending_attestations').where('device_id', '=', device.id).execute();
      if (status === 'registered')
        await on.deleteFrom('device_attestations').where('device_id', '=', device.id).execute();
      if (details?.newBootState === true)
        await on.deleteFrom('reference_boot_states').where('device_id', '=', device.id).execute();
      await this.sessions.endAll(on, device.user_id);
      await this.audit.record(on, { event, actor, subject: serial, ...(details && { details }) });
    });
  }

  private views() {
    return this.database.queries
      .selectFrom('devices')
      .innerJoin('users', 'users.id', 'devices.user_id')
      .leftJoin('device_reports', 'device_reports.device_id', 'devices.id')
      .leftJoin('device_attestations', 'device_attestations.device_id', 'devices.id')
      .select((eb) =>
        eb
          .selectFrom('group_members')
          .whereRef('group_members.device_id', '=', 'devices.id')
          .select(({ fn }) => fn.agg<readonly string[] | null>('array_agg', ['group_name']).as('names'))
          .as('groups'),
      )
      .select([
        'devices.serial',
        'users.email',
        'devices.status',
        'devices.created_at',
        'devices.enrolled_at',
        'devices.attested_at',
        'device_attestations.endorsement_name',
        'device_attestations.pcrs',
        'device_attestations.pcr_digest',
        'devices.last_seen_at',
        'device_reports.loader_version',
        'device_reports.binding',
        'device_reports.resources',
        'device_reports.images',
        'device_reports.reported_at',
      ]);
  }
}

function toView(row: {
  serial: string;
  email: string;
  status: DeviceView['status'];
  created_at: Date;
  enrolled_at: Date | null;
  attested_at: Date | null;
  endorsement_name: Buffer | null;
  pcrs: string | null;
  pcr_digest: Buffer | null;
  last_seen_at: Date | null;
  groups: readonly string[] | null;
  loader_version: string | null;
  binding: string | null;
  resources: DeviceReport['resources'] | null;
  images: DeviceReport['images'];
  reported_at: Date | null;
}): DeviceView {
  return {
    serial: row.serial,
    email: row.email,
    status: row.status,
    createdAt: row.created_at,
    enrolledAt: row.enrolled_at ?? undefined,
    attestation:
      row.attested_at === null
        ? undefined
        : {
            attestedAt: row.attested_at,
            endorsementName: row.endorsement_name?.toString('hex') ?? '',
            pcrs: row.pcrs ?? '',
            pcrDigest: row.pcr_digest?.toString('hex') ?? '',
          },
    lastSeenAt: row.last_seen_at ?? undefined,
    groups: (row.groups ?? []).toSorted(),
    report:
      row.reported_at === null
        ? undefined
        : {
            reportedAt: row.reported_at,
            loaderVersion: row.loader_version ?? '',
            binding: row.binding ?? '',
            resources: row.resources ?? [],
            images: row.images,
          },
  };
}

function notFound(): AdminError {
  return new AdminError('device.not-found', 'There is no such device.');
}
