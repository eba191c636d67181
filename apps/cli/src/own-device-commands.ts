import { type Command, Option } from 'commander';

import type { CommandContext } from './command-context.js';
import type { SignBootPolicyOptions } from './commands/boot-policy.js';
import type { EnrolOptions } from './commands/device-enrol.js';
import type { DoctorOptions } from './commands/doctor.js';
import type { CommandMaker } from './fleet-commands.js';

/** `azaion doctor` and the commands of `azaion device` that are about the machine they run on. */
export function addOwnDeviceCommands(
  tree: Command,
  device: Command,
  make: CommandMaker,
  context: CommandContext,
): void {
  const api = (): Option => new Option('--api <url>', 'the Admin API');
  make('enrol', 'Make the keys of this machine and enrol it, as its Loader would at its first start.', device)
    .addOption(api())
    .action(async (options: EnrolOptions) =>
      (await import('./commands/device-enrol.js')).enrolThisDevice(context, options),
    );
  make('status', 'Say what the keys of this machine are tied to, and why.', device).action(async () =>
    (await import('./commands/device-enrol.js')).thisDeviceStatus(context),
  );
  make('boot-state', 'Show what this machine has booted into, as its TPM measured it.', device).action(async () =>
    (await import('./commands/boot-policy.js')).showBootState(context),
  );
  make('sign-boot-policy', 'Permit the keys of devices of one model in one more boot state.', device)
    .requiredOption('--key <file>', "the fleet's private policy key")
    .option('--passphrase-file <path>', 'read its passphrase from the first line of a file')
    .requiredOption('--model <name>', 'which devices')
    .requiredOption(
      '--epoch <number>',
      'a later one ends what was signed for earlier ones, on devices that have taken it up',
    )
    .option('--pcrs <selection>', 'which registers', 'sha256:0,2,4,7')
    .requiredOption('--pcr-digest <hex>', 'their digest, as "azaion device boot-state" prints it')
    .requiredOption('-o, --output <path>', 'the file of policies that it is added to')
    .action(async (options: SignBootPolicyOptions) =>
      (await import('./commands/boot-policy.js')).signPolicy(context, options),
    );
  make('doctor', 'Look at everything that a device needs on this machine, and say what helps.', tree)
    .addOption(api())
    .option('--cdn <url>', 'an address of the object store to try')
    .action(async (options: DoctorOptions) => (await import('./commands/doctor.js')).doctor(context, options));
}
