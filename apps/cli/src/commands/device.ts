import type { CommandContext } from '../command-context.js';
import { AdminApi, allPages } from '../admin-api.js';
import { counted } from '../format.js';
import { contentOf } from '../http.js';
import { columns, shown } from '../table.js';
import { wantedVersions, wantedVersionText } from '../wanted-version.js';

/** Options of the commands that look at devices or change one. */
export interface DeviceOptions {
  readonly api?: string;
}

/** Options of `azaion device list`. */
export interface DeviceListOptions extends DeviceOptions {
  readonly status?: 'enrolled' | 'registered' | 'revoked';
  readonly group?: string;
}

/** Options of `azaion device reset`. */
export interface DeviceResetOptions extends DeviceOptions {
  readonly newBootState?: boolean;
}

/** `azaion device list`: the fleet, what it runs, and when it was last seen. */
export async function listDevices(context: CommandContext, { api, status, group }: DeviceListOptions): Promise<void> {
  const { routes } = await AdminApi.open(context, api);
  const filters = { ...(status === undefined ? {} : { status }), ...(group === undefined ? {} : { group }) };
  const devices = await allPages(
    (query) => routes.GET('/devices', { params: { query: { ...filters, ...query } } }),
    (page) => page.devices,
  );
  const rows = devices.map(({ serial, status: state, lastSeenAt, report, groups }) => [
    shown(serial),
    shown(state),
    shown(lastSeenAt),
    shown(report?.loaderVersion),
    shown(report?.binding),
    groups.join(',') || '-',
  ]);
  context.output.result({ devices }, [
    ...columns(['SERIAL', 'STATUS', 'LAST SEEN', 'LOADER', 'BINDING', 'GROUPS'], rows),
    `${counted(devices.length, 'device')}.`,
  ]);
}

/** `azaion device show`: one device, what it should hold, and what it says it holds. */
export async function showDevice(context: CommandContext, serial: string, { api }: DeviceOptions): Promise<void> {
  const { routes } = await AdminApi.open(context, api);
  const device = contentOf(await routes.GET('/devices/{serial}', { params: { path: { serial } } }));
  const { report } = device;
  const held = wantedVersions(report?.resources).map((each) => `    ${wantedVersionText(each)}`);
  const [images] = wantedVersions([report?.images]);
  context.output.result({ device }, [
    `Device ${shown(device.serial)} (${shown(device.email)})`,
    `  status: ${shown(device.status)}`,
    `  groups: ${device.groups.join(', ') || '-'}`,
    `  created: ${shown(device.createdAt)}`,
    `  enrolled: ${shown(device.enrolledAt)}`,
    ...attestationOf(device.attestation),
    `  last seen: ${shown(device.lastSeenAt)}`,
    `  last report: ${shown(report?.reportedAt)}`,
    `  loader: ${shown(report?.loaderVersion)}`,
    `  keys bound by: ${shown(report?.binding)}`,
    `  images: ${images === undefined ? '-' : `${wantedVersionText(images)} (${shown(report?.images?.state)})`}`,
    `  resources: ${held.length === 0 ? '-' : ''}`.trimEnd(),
    ...held,
  ]);
}

/** `azaion device revoke`: the device gets nothing from now on. */
export async function revokeDevice(context: CommandContext, serial: string, { api }: DeviceOptions): Promise<void> {
  const { routes } = await AdminApi.open(context, api);
  await routes.POST('/devices/{serial}/revoke', { params: { path: { serial } } });
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
  const { routes } = await AdminApi.open(context, api);
  await routes.POST('/devices/{serial}/reset', {
    params: { path: { serial } },
    body: newBootState ? { newBootState } : {},
  });
  context.output.result({ serial, status: 'registered', newBootState }, [
    `${serial} may enrol again, with the password in its device.conf. Restart its Loader.`,
    ...(newBootState ? ['The boot state of its next enrolment with a TPM will be the one it is held to.'] : []),
  ]);
}

/** What the Admin API has checked; `keys bound by` is only what the device says. */
function attestationOf(
  attestation: { attestedAt: string; endorsementName: string; pcrs: string; pcrDigest: string } | undefined,
): string[] {
  if (attestation === undefined) return ['  attested: no'];
  const { attestedAt, endorsementName, pcrs, pcrDigest } = attestation;
  return [
    `  attested: ${shown(attestedAt)}`,
    `    TPM: ${shown(endorsementName)}`,
    `    boot state: ${shown(pcrs)} = ${shown(pcrDigest)}`,
  ];
}
