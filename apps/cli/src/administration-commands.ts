import { type Role, ROLES, WORKING_ROLES } from '@azaion/identity';
import { Argument, type Command, InvalidArgumentError, Option } from 'commander';

import type { CommandContext } from './command-context.js';
import type { AuditExportOptions, AuditListOptions, AuditOptions, AuditVerifyOptions } from './commands/audit.js';
import type { FolderOptions, FolderSetOptions } from './commands/folder.js';
import type { NewPasswordOptions, UserCreateOptions, UserListOptions, UserOptions } from './commands/user.js';
import type { VersionOptions } from './commands/versions.js';
import type { CommandMaker } from './fleet-commands.js';

const DEFAULT_EVENTS = 50;
const MAX_BYTES = 2 ** 50;
const ROLE_NAMES = Object.keys(ROLES);

/** `azaion user`: accounts of people and services. */
export function addUserCommands(user: Command, make: CommandMaker, context: CommandContext): void {
  const command = (usage: string, description: string): Command =>
    make(usage, description, user).addOption(new Option('--api <url>', 'the Admin API'));
  const password = (): Option =>
    new Option('--new-password-file <path>', 'read the new password from the first line of a file');
  command('list', 'List accounts: role, state, last login.')
    .addOption(new Option('--role <role>', 'accounts with this role only').choices(ROLE_NAMES))
    .option('--search <text>', 'accounts with this text in their address only')
    .action(async (options: UserListOptions) => (await import('./commands/user.js')).listUsers(context, options));
  command('create <email>', 'Create an account.')
    .addOption(new Option('--role <role>', 'what it may do').choices(ROLE_NAMES).makeOptionMandatory())
    .addOption(password())
    .action(async (email: string, options: UserCreateOptions) =>
      (await import('./commands/user.js')).createUser(context, email, options),
    );
  command('set-role', 'Give an account another role; its sessions end.')
    .argument('<email>', 'the account')
    .addArgument(new Argument('<role>', 'what it may do').choices(ROLE_NAMES))
    .action(async (email: string, role: Role, options: UserOptions) =>
      (await import('./commands/user.js')).setRole(context, email, role, options),
    );
  command('set-password <email>', 'Give another account a new password; its sessions end.')
    .addOption(password())
    .action(async (email: string, options: NewPasswordOptions) =>
      (await import('./commands/user.js')).setPassword(context, email, options),
    );
  command('enable <email>', 'Let an account be used again.').action(async (email: string, options: UserOptions) =>
    (await import('./commands/user.js')).changeUse(context, 'enable', email, options),
  );
  command('disable <email>', 'Keep an account from being used, from the next request on.').action(
    async (email: string, options: UserOptions) =>
      (await import('./commands/user.js')).changeUse(context, 'disable', email, options),
  );
  command('delete <email>', 'Remove an account; what it published stays.').action(
    async (email: string, options: UserOptions) =>
      (await import('./commands/user.js')).deleteUser(context, email, options),
  );
}

/** `azaion folder`: what holds for a folder. */
export function addFolderCommands(folder: Command, make: CommandMaker, context: CommandContext): void {
  const command = (usage: string, description: string): Command =>
    make(usage, description, folder).addOption(new Option('--api <url>', 'the Admin API'));
  const roles = (usage: string, description: string): Option => new Option(usage, description).choices(WORKING_ROLES);
  command('show <folder>', 'Show the rules of a folder.').action(async (name: string, options: FolderOptions) =>
    (await import('./commands/folder.js')).showFolder(context, name, options),
  );
  command('set <folder>', 'Change rules of a folder; the others stay as they are.')
    .addOption(roles('--read <roles...>', 'all roles that read, instead of those that do now'))
    .addOption(roles('--add-read <roles...>', 'further roles that read').conflicts('read'))
    .addOption(roles('--write <roles...>', 'all roles that write, instead of those that do now'))
    .addOption(roles('--add-write <roles...>', 'further roles that write').conflicts('write'))
    .option('--lease-days <number>', 'how long devices may open offline what they were granted', days)
    .option('--quota <bytes>', 'most bytes of packs and of older clients’ files, or "none"', quota)
    .option('--require-attestation', 'grants for attested devices only')
    .option('--no-require-attestation', 'grants for all devices')
    .option('--people-may-read', 'grants for people although attestation is required')
    .option('--no-people-may-read', 'no grants for people where attestation is required')
    .action(async (name: string, options: FolderSetOptions) =>
      (await import('./commands/folder.js')).setFolder(context, name, options),
    );
  command('rotate-dedup-key <folder>', 'Share no key between what was published and what will be.').action(
    async (name: string, options: VersionOptions) =>
      (await import('./commands/versions.js')).rotateDedupKey(context, name, options),
  );
}

/** `azaion audit`: the record of what happened. */
export function addAuditCommands(audit: Command, make: CommandMaker, context: CommandContext): void {
  const command = (usage: string, description: string): Command =>
    make(usage, description, audit).addOption(new Option('--api <url>', 'the Admin API'));
  command('list', 'List events, newest first.')
    .option('--event <name>', 'events of this kind only, for example grant.issued')
    .option('--actor <id>', 'what this account did')
    .option('--subject <text>', 'what happened to this, for example models/detector.onnx')
    .option('--limit <number>', 'how many, at most 200', atLeastOne, DEFAULT_EVENTS)
    .action(async (options: AuditListOptions) => (await import('./commands/audit.js')).listEvents(context, options));
  command('head', 'Print the end of the chain, to be kept elsewhere.').action(async (options: AuditOptions) =>
    (await import('./commands/audit.js')).showAuditHead(context, options),
  );
  command('export', 'Write the chain into a file, as JSON lines.')
    .requiredOption('-o, --output <path>', 'the file to write')
    .option('--after <number>', 'the number of the last event that an earlier export holds', atLeastOne, 0)
    .action(async (options: AuditExportOptions) => (await import('./commands/audit.js')).exportAudit(context, options));
  command('verify', 'Check the whole chain, and that it still holds a head that was kept elsewhere.')
    .option('--sequence <number>', 'the number of that head', atLeastOne)
    .option('--hash <hex>', 'its hash')
    .option('--newer', 'believe that head, and check what came after it only')
    .addOption(new Option('--file <path>', 'check an export instead, without any service').conflicts(['api', 'newer']))
    .action(async (options: AuditVerifyOptions) => (await import('./commands/audit.js')).verifyAudit(context, options));
}

function atLeastOne(text: string): number {
  if (!/^[1-9][0-9]{0,14}$/.test(text)) throw new InvalidArgumentError('It must be a whole number from 1.');
  return Number(text);
}

function days(text: string): number {
  const number = Number(text);
  if (!/^[0-9]{1,3}(?:\.[0-9]{1,3})?$/.test(text) || number <= 0)
    throw new InvalidArgumentError('It must be a number of days, such as 7 or 0.5.');
  return number;
}

function quota(text: string): number | 'none' {
  if (text === 'none') return text;
  if (!/^[0-9]{1,16}$/.test(text) || Number(text) > MAX_BYTES)
    throw new InvalidArgumentError('It must be a number of bytes, or "none".');
  return Number(text);
}
