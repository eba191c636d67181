import { PassThrough } from 'node:stream';

import { Argument, Command, CommanderError, Option } from 'commander';

import { addAuditCommands, addFolderCommands, addUserCommands } from './administration-commands.js';
import { type CliFailure, usageFailure } from './cli-failure.js';
import type { CommandContext } from './command-context.js';
import type { CreateBundleOptions, ImportBundleOptions } from './commands/bundle.js';
import { type Shell, SHELLS } from './commands/completion.js';
import type { FetchOptions } from './commands/fetch.js';
import type { LegacyArchiveOptions, LegacyOpenOptions } from './commands/legacy.js';
import type { LegacyRegisterOptions } from './commands/legacy-register.js';
import type { CreateRootOptions, ShowKeyDocumentOptions, SignKeysOptions } from './commands/keys.js';
import type { LoginOptions } from './commands/login.js';
import type { PasswordOptions } from './commands/password.js';
import type { ProveSplitOptions } from './commands/prove-split.js';
import type { PublishOptions } from './commands/publish.js';
import type { StatusOptions } from './commands/status.js';
import type { UnlockOptions } from './commands/unlock.js';
import { EXIT_CODES, exitCodeTable } from './exit-codes.js';
import { failureOf } from './failure-table.js';
import { addDesiredCommands, addDeviceCommands, addGroupCommands } from './fleet-commands.js';
import { addOwnDeviceCommands } from './own-device-commands.js';
import { Output, type TextSink } from './output.js';
import type { PasswordInput } from './password.js';
import { ProfileFile } from './profile.js';
import { addResourceCommands } from './resource-commands.js';
import { SessionKeeper } from './session.js';

const ENVIRONMENT = `Environment:
  AZAION_API, AZAION_LOADER    where the services are, instead of --api and --loader
  AZAION_EMAIL                 who logs in
  AZAION_PASSWORD, AZAION_PASSWORD_FILE
                               the password; it is never taken from the command line
  AZAION_NEW_PASSWORD, AZAION_NEW_PASSWORD_FILE
                               the one that an account shall have
  AZAION_PASSPHRASE, AZAION_PASSPHRASE_FILE
                               the passphrase of a root key
  AZAION_PROFILE               the profile file (default ~/.config/azaion/profile.json)
  STATEMENT_ROOT_KEY_FILE      the root key to trust (a public JSON Web Key)
  ALLOW_INSECURE_API=true      permits http:// to other machines`;

/** Source: docs/formats/legacy.md. */
const AFTER_REGISTERING = `Devices ask for the archive "images", unless LEGACY_ARCHIVE_NAME of their Loader says otherwise.

What to do with the fragment:
  1. Encrypt what "docker save" wrote: a random IV of 16 bytes, then AES-256-CBC under the SHA-256 of the fragment.
  2. Check it: azaion legacy open-archive images.enc --key-fragment FILE -o COPY
  3. Put it where IMAGES_PATH of the device says. The fragment stays here: the device gets it when it unlocks.`;

/** Known to every command, and in front of it. */
const JSON_OPTION = ['--json', 'print one JSON object and nothing else'] as const;
const VERBOSE_OPTION = ['--verbose', 'say more about faults'] as const;

/** The world a command runs in. */
export interface CommandWorld {
  readonly stdout: TextSink;
  readonly stderr: TextSink;
  readonly stdin: PasswordInput;
  readonly env: NodeJS.ProcessEnv;
  readonly version: string;
  readonly signal: AbortSignal;
}

/**
 * Runs one command line.
 *
 * @param args - Without the interpreter and the script.
 * @returns The exit status; see {@link EXIT_CODES}. Everything that goes wrong has been told when it returns.
 */
export async function runCommandLine(args: readonly string[], world: CommandWorld): Promise<number> {
  // Known before parsing, because a mistake in parsing is told in the same way.
  const json = args.includes('--json');
  const context = contextIn(world, json);
  const { output } = context;
  try {
    await commandTree(context, world).parseAsync(args, { from: 'user' });
    return EXIT_CODES.ok.status;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT_CODES.ok.status;
    if (error instanceof CommanderError) {
      if (json) output.failure(mistake(error));
      return EXIT_CODES.usage.status;
    }
    const failed = world.signal.aborted ? failureOf(world.signal.reason) : failureOf(error);
    output.failure(failed);
    if (args.includes('--verbose') && failed.cause instanceof Error) output.note(failed.cause.stack ?? '');
    return EXIT_CODES[failed.exit].status;
  }
}

/** The program with all its commands, to be looked at: it is in a world where nothing is read or written. */
export function programToRead(): Command {
  const nowhere = { write: () => true };
  const world = { stdout: nowhere, stderr: nowhere, stdin: new PassThrough(), env: {}, version: '' };
  const quiet = { ...world, signal: new AbortController().signal };
  return commandTree(contextIn(quiet, false), quiet);
}

function contextIn(world: CommandWorld, json: boolean): CommandContext {
  const profile = ProfileFile.locate(world.env);
  return {
    output: new Output(world.stdout, world.stderr, json),
    profile,
    session: new SessionKeeper(profile, world.env['ALLOW_INSECURE_API'] === 'true', world.signal),
    env: world.env,
    input: world.stdin,
    prompt: world.stderr,
    signal: world.signal,
  };
}

/** What was wrong with a command line. Where no command is named, commander shows the help and has no words of its own. */
function mistake({ code, message }: CommanderError): CliFailure {
  return code === 'commander.help'
    ? usageFailure('No command was given.', 'Run it with --help to see which there are.')
    : usageFailure(message.replace(/^error: /, ''));
}

/** Every command loads what it needs when it is run: together they would take most of the time of a short one. */
function commandTree(context: CommandContext, world: CommandWorld): Command {
  const tree = new Command('azaion')
    .description('Publishes, fetches and unlocks encrypted models and container images.')
    .version(world.version)
    .enablePositionalOptions() // "keys sign --version 2" is not "--version"
    .exitOverride()
    .configureOutput({
      writeOut: (text) => world.stdout.write(text),
      writeErr: (text) => {
        if (!context.output.json) world.stderr.write(text);
      },
    })
    .showHelpAfterError('Run the command with --help to see what it takes.')
    .option(...JSON_OPTION)
    .option(...VERBOSE_OPTION)
    .addHelpText('after', `\n${exitCodeTable()}\n\n${ENVIRONMENT}`);
  const command = (usage: string, description: string, parent = tree): Command =>
    parent
      .command(usage)
      .description(description)
      .option(...JSON_OPTION)
      .option(...VERBOSE_OPTION);
  const api = (): Option => new Option('--api <url>', 'the Admin API');
  const loader = (text = 'the Loader'): Option => new Option('--loader <url>', text);

  command('login', 'Log in and remember the tokens (never the password).')
    .addOption(api())
    .addOption(loader('log in at a Loader instead'))
    .option('--email <address>', 'who logs in')
    .option('--password-file <path>', 'read the password from the first line of a file')
    .action(async (options: LoginOptions) => (await import('./commands/login.js')).login(context, options));
  command('logout', 'End all logins, at every service, and forget the tokens.').action(async () =>
    (await import('./commands/logout.js')).logout(context),
  );
  command('password', 'Change your own password; your other sessions end.')
    .addOption(api())
    .option('--password-file <path>', 'read the current password from the first line of a file')
    .option('--new-password-file <path>', 'read the new password from the first line of a file')
    .action(async (options: PasswordOptions) =>
      (await import('./commands/password.js')).changePassword(context, options),
    );
  command('publish <file>', 'Encrypt a file and publish it as a new version. A small change is a small transfer.')
    .addOption(api())
    .option('--folder <folder>', 'where to publish', 'models')
    .option('--name <name>', "the resource's name (default: the file's)")
    .addOption(
      new Option('--kind <kind>', 'file, or images for an archive made by "docker save"')
        .choices(['file', 'images'])
        .default('file'),
    )
    .action(async (file: string, options: PublishOptions) =>
      (await import('./commands/publish.js')).publish(context, file, options),
    );
  command('fetch <folder/name[@version]>', 'Fetch a resource, the newest version by default, verify and decrypt it.')
    .addOption(api())
    .addOption(loader('fetch through a Loader'))
    .option('-o, --output <path>', "the file to write (default: the resource's name)")
    .option('--force', 'replace the file if it is there')
    .action(async (reference: string, options: FetchOptions) =>
      (await import('./commands/fetch.js')).fetchResource(context, reference, options),
    );
  command('unlock', 'Let a Loader open its image archive and load the images, and follow it.')
    .addOption(loader())
    .option('--no-wait', 'start it and return')
    .option('--cancel', 'stop the run at work instead')
    .action(async (options: UnlockOptions) => (await import('./commands/unlock.js')).unlock(context, options));
  command('status', 'Show what a Loader does.')
    .addOption(loader())
    .action(async (options: StatusOptions) => (await import('./commands/status.js')).status(context, options));
  command('completion', 'Print a completion script for a shell.')
    .addArgument(new Argument('<shell>', 'the shell').choices(SHELLS))
    .action(async (shell: Shell) => (await import('./commands/completion.js')).completion(context, tree, shell));
  const device = command('device', 'Provision devices, look at them, revoke them.');
  addDeviceCommands(device, command, context);
  addOwnDeviceCommands(tree, device, command, context);
  addGroupCommands(command('group', 'Groups of devices.'), command, context);
  addDesiredCommands(command('desired', 'What devices shall hold and run.'), command, context);
  addResourceCommands(tree, command, context);
  addFolderCommands(command('folder', 'What holds for folders.'), command, context);
  addUserCommands(command('user', 'Accounts of people and services.'), command, context);
  addAuditCommands(command('audit', 'The record of what happened.'), command, context);
  addKeyCommands(context, tree, command, api);
  addBundleCommands(context, tree, command, api);
  command('prove-split', 'Attack the stores of a running Admin API, and show that neither alone gives anything away.')
    .option('--data <directory>', 'its data directory (default: ADMIN_DATA_DIR, else that of the demo)')
    .option('--kek <path>', 'the file with its key-encryption keys (default: ADMIN_KEK_FILE, else beside the data)')
    .option('--resource <folder/name>', 'only this resource; may be repeated', collected)
    .action(async (options: ProveSplitOptions) =>
      (await import('./commands/prove-split.js')).proveSplitOf(context, options),
    );
  const legacy = command(
    'legacy',
    'The older format: read what was written in it, and serve devices that still read it.',
  );
  const opening = (usage: string, description: string): Command =>
    command(usage, description, legacy)
      .requiredOption('-o, --output <path>', 'the file to write')
      .option('--sha256 <hex>', 'what the content must have; the format itself proves nothing')
      .option('--fast', 'compute no hash that is not asked for, and do not wait until the file is on the disk');
  opening('open <small> [big]', 'Open a resource from its two parts.')
    .option('--key-fragment <path>', 'the key fragment it was encrypted with, instead of the shared resource key')
    .option('--email <address>', 'the account it was encrypted for; the password is read as for "login"')
    .option('--password-file <path>', 'read the password from the first line of a file')
    .option('--fingerprint <text>', 'the fingerprint of the machine, for accounts that were bound to one')
    .action(async (small: string, big: string | undefined, options: LegacyOpenOptions) =>
      (await import('./commands/legacy.js')).openLegacy(context, big === undefined ? [small] : [small, big], options),
    );
  opening('open-archive <file>', 'Open an image archive (images.enc).')
    .requiredOption('--key-fragment <path>', 'the key fragment that the older API served')
    .action(async (file: string, options: LegacyArchiveOptions) =>
      (await import('./commands/legacy.js')).openLegacyArchive(context, file, options),
    );
  command(
    'register <name>',
    'Register an image archive, and write the key fragment to encrypt it with into a file; again, to who registered it or an administrator.',
    legacy,
  )
    .addOption(api())
    .requiredOption('-o, --output <path>', 'the new file for the key fragment (0600); never one that is there')
    .addHelpText('after', `\n${AFTER_REGISTERING}`)
    .action(async (name: string, options: LegacyRegisterOptions) =>
      (await import('./commands/legacy-register.js')).registerLegacyArchive(context, name, options),
    );
  return tree;
}

/** Everything about the keys that sign: the offline root, key documents, and the Admin API's statement keys. */
function addKeyCommands(
  context: CommandContext,
  tree: Command,
  command: (usage: string, description: string, parent?: Command) => Command,
  api: () => Option,
): void {
  const keys = command('keys', 'The offline root, key documents and statement keys.');
  const root = command('root', 'The offline root key. Its place is a machine without a network.', keys);
  const passphrase = (): Option =>
    new Option('--passphrase-file <path>', 'read the passphrase from the first line of a file');
  command('create', 'Make the root key: a private file, and a public one for devices, people and the Admin API.', root)
    .requiredOption('-o, --output <path>', 'the private file; the public one gets ".pub.json" behind it')
    .option('--kid <id>', 'the name of the key (default: its thumbprint)')
    .addOption(passphrase())
    .option('--no-passphrase', 'protect the key by the permissions of its file alone (0600)')
    .action(async (options: CreateRootOptions) => (await import('./commands/keys.js')).createRoot(context, options));
  command('sign', 'Sign a key document: the next version of the one that is given, or the first.', keys)
    .requiredOption('--root <path>', 'the private file of the root key')
    .option('--document <path>', 'the key document in force')
    .option('--add <path>', 'a statement key to name, as "azaion keys new" prints it; may be repeated', collected)
    .option('--remove <kid>', 'a statement key to leave out, because it was stolen; may be repeated', collected)
    .option('--days <number>', 'how long the document is good', '365')
    .option('--version <number>', 'its version where the document in force is not at hand')
    .addOption(passphrase())
    .requiredOption('-o, --output <path>', 'the file to write')
    .action(async (options: SignKeysOptions) => (await import('./commands/keys.js')).signKeys(context, options));
  command('show <document>', 'Show what a key document says.', keys)
    .requiredOption('--root <path>', 'the public file of the root key')
    .action(async (path: string, options: ShowKeyDocumentOptions) =>
      (await import('./commands/keys.js')).showKeyDocument(context, path, options),
    );
  command('list', "List the Admin API's statement keys.", keys)
    .addOption(api())
    .action(async (options: { api?: string }) =>
      (await import('./commands/keys.js')).listStatementKeys(context, options),
    );
  command('new', 'Let the Admin API make another statement key. It signs once a key document names it.', keys)
    .addOption(api())
    .option('-o, --output <path>', 'the file to write it to, for "azaion keys sign --add"')
    .action(async (options: { api?: string; output?: string }) =>
      (await import('./commands/keys.js')).makeStatementKey(context, options),
    );
  command('publish <document>', 'Hand a signed key document to the Admin API: it is in force from then on.', keys)
    .addOption(api())
    .action(async (path: string, options: { api?: string }) =>
      (await import('./commands/keys.js')).publishKeyDocument(context, path, options),
    );
}

/** Bundles: versions carried to devices that no network reaches. */
function addBundleCommands(
  context: CommandContext,
  tree: Command,
  command: (usage: string, description: string, parent?: Command) => Command,
  api: () => Option,
): void {
  const bundle = command('bundle', 'Versions with everything that devices without a network need.');
  command(
    'create <resources...>',
    'Write versions, and grants for named devices, into a directory or a .tar file.',
    bundle,
  )
    .addOption(api())
    .requiredOption('-o, --output <path>', 'the directory, or the file when it ends with .tar')
    .requiredOption('--device <serial>', 'a device that shall open them; may be repeated', collected)
    .option('--days <number>', 'how long the devices may open them, 1 to 90; what the folder says when left out')
    .action(async (resources: string[], options: CreateBundleOptions) =>
      (await import('./commands/bundle.js')).createBundle(context, resources, options),
    );
  command('inspect <bundle>', 'Show what a bundle holds, and until when.', bundle).action(async (path: string) =>
    (await import('./commands/bundle.js')).inspectBundle(context, path),
  );
  command('import <bundle>', 'Verify a bundle and put it where the Loader of this device takes it up.', bundle)
    .requiredOption('--to <directory>', "the Loader's LOADER_IMPORT_DIR")
    .action(async (path: string, options: ImportBundleOptions) =>
      (await import('./commands/bundle.js')).importBundle(context, path, options),
    );
  command(
    'verify <path>',
    'Check a pre-deployed disk or a bundle (.tar too): every byte of it, without a network.',
  ).action(async (path: string) => (await import('./commands/verify.js')).verifyDisk(context, path));
}

/** Gathers an option that may be repeated. */
function collected(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}
