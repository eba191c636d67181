import { type CommandContext } from '../command-context.js';
import { columns, type Facts, FleetApi, shown } from '../fleet/fleet-api.js';
import { wantedVersions, wantedVersionText } from '../fleet/wanted-version.js';

/** Options of the commands that look at devices or change one. */
export interface DeviceOptions {
  readonly api?: string;
}

/** Options of `azaion device list`. */
export interface DeviceListOptions extends DeviceOptions {
  readonly status?: string;
  readonly group?: string;
}

/** Options of `azaion device reset`. */
export interface DeviceResetOptions extends DeviceOptions {
  readonly newBootState?: boolean;
}

/** `azaion device list`: the fleet, what it runs, and when it was last seen. */
export async function listDevices(context: CommandContext, { api, status, group }: DeviceListOptions): Promise<void> {
  const fleet = await FleetApi.open(context, api);
  const devices = await fleet.list('devices', 'devices', { status, group });
  const rows = devices.map((device) => {
    const report = reportOf(device);
    return [
      shown(device['serial']),
      shown(device['status']),
      shown(device['lastSeenAt']),
      shown(report['loaderVersion']),
      shown(report['binding']),
      groupsOf(device).join(',') || '-',
    ];
  });
  context.output.result({ devices }, [
    ...columns(['SERIAL', 'STATUS', 'LAST SEEN', 'LOADER', 'BINDING', 'GROUPS'], rows),
    `${String(devices.length)} devices.`,
  ]);
}

/** `azaion device show`: one device, what it should hold, and what it says it holds. */
export async function showDevice(context: CommandContext, serial: string, { api }: DeviceOptions): Promise<void> {
  const fleet = await FleetApi.open(context, api);
  const { facts: device } = await fleet.ask('GET', ['devices', serial]);
  const report = reportOf(device);
  const held = wantedVersions(report['resources']).map((each) => `    ${wantedVersionText(each)}`);
  const [images] = wantedVersions([report['images']]);
  context.output.result({ device }, [
    `Device ${shown(device['serial'])} (${shown(device['email'])})`,
    `  status: ${shown(device['status'])}`,
    `  groups: ${groupsOf(device).join(', ') || '-'}`,
    `  created: ${shown(device['createdAt'])}`,
    `  enrolled: ${shown(device['enrolledAt'])}`,
    ...attestationOf(device),
    `  last seen: ${shown(device['lastSeenAt'])}`,
    `  last report: ${shown(report['reportedAt'])}`,
    `  loader: ${shown(report['loaderVersion'])}`,
    `  keys bound by: ${shown(report['binding'])}`,
    `  images: ${images === undefined ? '-' : `${wantedVersionText(images)} (${shown((report['images'] as Facts)['state'])})`}`,
    `  resources: ${held.length === 0 ? '-' : ''}`.trimEnd(),
    ...held,
  ]);
}

/** `azaion device revoke`: the device gets nothing from now on. */
export async function revokeDevice(context: CommandContext, serial: string, { api }: DeviceOptions): Promise<void> {
  const fleet = await FleetApi.open(context, api);
  await fleet.send('POST', ['devices', serial, 'revoke']);
  context.output.result({ serial, status: 'revoked' }, [
    `${serial} is revoked: it gets nothing from now on. What it holds already opens until its leases end.`,
  ]);
}

/** `azaion device reset`: the device may enrol again. */
export async function resetDevice(
  context: CommandContext,
  serial: string,
  { api, newBootState = false }: DeviceResetOptions,
): Promise<void> {
  const fleet = await FleetApi.open(context, api);
  await fleet.send('POST', ['devices', serial, 'reset'], newBootState ? { newBootState } : undefined);
  context.output.result({ serial, status: 'registered', newBootState }, [
    `${serial} may enrol again, with the password in its device.conf. Restart its Loader.`,
    ...(newBootState ? ['The boot state of its next enrolment with a TPM will be the one it is held to.'] : []),
  ]);
}

/** What the Admin API has checked; `keys bound by` is only what the device says. */
function attestationOf({ attestation }: Facts): string[] {
  if (typeof attestation !== 'object' || attestation === null) return ['  attested: no'];
  const { attestedAt, endorsementName, pcrs, pcrDigest } = attestation as Facts;
  return [
    `  attested: ${shown(attestedAt)}`,
    `    TPM: ${shown(endorsementName)}`,
    `    boot state: ${shown(pcrs)} = ${shown(pcrDigest)}`,
  ];
}

function reportOf(device: Facts): Facts {
  const { report } = device;
  return typeof report === 'object' && report !== null ? (report as Facts) : {};
}

function groupsOf(device: Facts): string[] {
  const { groups } = device;
  return Array.isArray(groups) ? groups.map(String) : [];
}
