import { type Command, Option } from 'commander';

import type { CommandContext } from './command-context.js';
import type { ListOptions } from './commands/list.js';
import type { PinOptions, VersionOptions } from './commands/versions.js';
import type { CommandMaker } from './fleet-commands.js';

/** What folders hold, and what administrators decide about versions. */
export function addResourceCommands(tree: Command, make: CommandMaker, context: CommandContext): void {
  const command = (usage: string, description: string, parent = tree): Command =>
    make(usage, description, parent).addOption(new Option('--api <url>', 'the Admin API'));
  command('list [folder]', 'List folders, what a folder holds, or the versions of FOLDER/NAME.').action(
    async (folder: string | undefined, options: ListOptions) =>
      (await import('./commands/list.js')).list(context, folder, options),
  );
  command('promote <folder/name@version>', 'Give a version that a device published to the fleet.').action(
    async (reference: string, options: VersionOptions) =>
      (await import('./commands/versions.js')).promote(context, reference, options),
  );
  command('withdraw <folder/name@version>', 'End all grants of a version, for good.').action(
    async (reference: string, options: VersionOptions) =>
      (await import('./commands/versions.js')).withdraw(context, reference, options),
  );
  command('pin <folder/name[@version]>', 'Let requests without a version get a certain one, for a rollback.')
    .option('--remove', 'let them get the newest again')
    .action(async (reference: string, options: PinOptions) =>
      (await import('./commands/versions.js')).pin(context, reference, options),
    );
}
