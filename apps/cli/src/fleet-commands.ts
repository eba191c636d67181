import { type Command, InvalidArgumentError, Option } from 'commander';

import type { CommandContext } from './command-context.js';
import type { DesiredOptions, SetDesiredOptions, UnsetDesiredOptions } from './commands/desired.js';
import type { ProvisionOptions } from './commands/device-provision.js';
import type { DeviceListOptions, DeviceResetOptions, DeviceOptions } from './commands/device.js';
import type { GroupCreateOptions, GroupOptions } from './commands/group.js';

/** Makes a command with what every command takes. */
export type CommandMaker = (usage: string, description: string, parent: Command) => Command;

/** `azaion device`: provisioning and the state of devices. */
export function addDeviceCommands(device: Command, make: CommandMaker, context: CommandContext): void {
  const command = (usage: string, description: string): Command =>
    make(usage, description, device).addOption(new Option('--api <url>', 'the Admin API'));
  command('provision <directory>', 'Create a device and write its device.conf into its root file system.')
    .option('--serial <serial>', 'the serial (default: the next number, azj-0000)')
    .option('--path <path>', 'where the file lies on the device', '/etc/azaion/device.conf')
    .option('--device-api <url>', 'where the device reaches the Admin API (default: as this command does)')
    .option('--root-key <file>', 'the public root key whose signatures the device trusts')
    .option('--group <name>', 'put the device into a group (may be repeated)', collected, [])
    .option('--owner <uid:gid>', 'who owns the file on the device, by numbers')
    .option('--reset', 'let a device that is enrolled or revoked enrol again')
    .action(async (directory: string, options: ProvisionOptions) =>
      (await import('./commands/device-provision.js')).provisionDevice(context, directory, options),
    );
  command('list', 'List devices: status, last seen, Loader, groups.')
    .addOption(
      new Option('--status <status>', 'devices of this status only').choices(['registered', 'enrolled', 'revoked']),
    )
    .option('--group <name>', 'devices of this group only')
    .action(async (options: DeviceListOptions) => (await import('./commands/device.js')).listDevices(context, options));
  command('show <serial>', 'Show one device and what it last reported.').action(
    async (serial: string, options: DeviceOptions) =>
      (await import('./commands/device.js')).showDevice(context, serial, options),
  );
  command('revoke <serial>', 'Revoke a device: it gets nothing from now on.').action(
    async (serial: string, options: DeviceOptions) =>
      (await import('./commands/device.js')).revokeDevice(context, serial, options),
  );
  command('reset <serial>', 'Forget a device’s keys and let it enrol again.')
    .option('--new-boot-state', 'also accept another boot state than the one it was first attested in')
    .action(async (serial: string, options: DeviceResetOptions) =>
      (await import('./commands/device.js')).resetDevice(context, serial, options),
    );
}

/** `azaion group`: groups and which devices belong to them. */
export function addGroupCommands(group: Command, make: CommandMaker, context: CommandContext): void {
  const command = (usage: string, description: string): Command =>
    make(usage, description, group).addOption(new Option('--api <url>', 'the Admin API'));
  command('list', 'List groups.').action(async (options: GroupOptions) =>
    (await import('./commands/group.js')).listGroups(context, options),
  );
  command('create <name>', 'Create a group.')
    .option('--priority <number>', 'where groups differ, the higher number counts', wholeNumber)
    .action(async (name: string, options: GroupCreateOptions) =>
      (await import('./commands/group.js')).createGroup(context, name, options),
    );
  command('delete <name>', 'Delete a group; its devices stay.').action(async (name: string, options: GroupOptions) =>
    (await import('./commands/group.js')).deleteGroup(context, name, options),
  );
  command('add <name> <serials...>', 'Put devices into a group.').action(
    async (name: string, serials: string[], options: GroupOptions) =>
      (await import('./commands/group.js')).changeMembers(context, 'add', name, serials, options),
  );
  command('remove <name> <serials...>', 'Take devices out of a group.').action(
    async (name: string, serials: string[], options: GroupOptions) =>
      (await import('./commands/group.js')).changeMembers(context, 'remove', name, serials, options),
  );
}

/** `azaion desired`: what devices shall hold and run. */
export function addDesiredCommands(desired: Command, make: CommandMaker, context: CommandContext): void {
  const command = (usage: string, description: string): Command =>
    make(usage, description, desired)
      .addOption(new Option('--api <url>', 'the Admin API'))
      .option('--group <name>', 'of the devices of a group')
      .option('--device <serial>', 'of one device');
  command('show', 'Show what a group or device shall hold and run.').action(async (options: DesiredOptions) =>
    (await import('./commands/desired.js')).showDesired(context, options),
  );
  command('set [resources...]', 'Add wishes or change their versions: FOLDER/NAME[@VERSION], the newest by default.')
    .option('--images <folder/name[@version]>', 'the image archive to run')
    .option('--priority <number>', 'of a group: where groups differ, the higher number counts', wholeNumber)
    .action(async (resources: string[], options: SetDesiredOptions) =>
      (await import('./commands/desired.js')).setDesired(context, resources, options),
    );
  command('unset [resources...]', 'Take wishes back: FOLDER/NAME.')
    .option('--images', 'the image archive')
    .action(async (resources: string[], options: UnsetDesiredOptions) =>
      (await import('./commands/desired.js')).unsetDesired(context, resources, options),
    );
}

function collected(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

function wholeNumber(text: string): number {
  if (!/^-?[0-9]{1,7}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}
