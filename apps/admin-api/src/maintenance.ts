import { addKeyEncryptionKey } from '@azaion/adapters/key-file';
import { SIGNATURE_ALGORITHM } from '@azaion/crypto';
import { SystemClock } from '@azaion/kernel';
import type { ServiceCommand } from '@azaion/nest-support';

import { AuditLog } from './audit/audit-log.js';
import { TrimAudit } from './audit/trim-audit.js';
import type { AdminConfig } from './config.js';
import { type Infrastructure, kekFileOf, openInfrastructure } from './infrastructure.js';
import { RotateKek } from './keys/rotate-kek.js';
import { SigningKeys } from './keys/signing-keys.js';
import { TokenKeys } from './keys/token-keys.js';
import { settleRestoredDatabase, SKIPPED_SERIALS, SKIPPED_VERSIONS } from './persistence/after-restore.js';

/** What an operator may run beside the service. */
interface MaintenanceCommand {
  /** The words of the command line. */
  readonly words: readonly string[];
  readonly help: string;
  /** Before anything is opened. */
  readonly before?: (config: AdminConfig) => Promise<void>;
  /** @returns The exit status. */
  readonly run: (
    infrastructure: Infrastructure,
    tell: Tell,
    config: AdminConfig,
    input: () => CommandInput,
  ) => Promise<number>;
}

type Tell = (text: string) => void;
/** Bytes that a command is given. */
type CommandInput = AsyncIterable<Uint8Array> & { readonly isTTY?: boolean };

const COMMANDS: readonly MaintenanceCommand[] = [
  {
    words: ['rotate-kek'],
    help: 'wrap every stored key under the first key of the KEK file; repeat it as often as you like',
    run: rotateKek,
  },
  {
    words: ['rotate-kek', '--add-key'],
    help: 'first put a fresh key in front of the file',
    before: (config) => addKeyEncryptionKey(kekFileOf(config)),
    run: rotateKek,
  },
  {
    words: ['rotate-kek', '--count'],
    help: 'only count what is still wrapped under earlier keys; exit status 1 when there is something',
    run: async (infrastructure, tell) => leftOver(await rotation(infrastructure).left(), tell),
  },
  {
    words: ['statement-key'],
    help: 'print the newest statement key, made where there is none, as the offline root signs it',
    run: async ({ database, vault, clock }, tell) => {
      const keys = new SigningKeys(database, vault, clock);
      await keys.signing('statement');
      const [newest] = await keys.published('statement');
      if (newest !== undefined) tell(JSON.stringify({ kid: newest.kid, alg: SIGNATURE_ALGORITHM, key: newest.key }));
      return 0;
    },
  },
  {
    words: ['rotate-token-key'],
    help: 'publish a new key for access tokens, which signs a quarter of an hour later; nobody has to log in again',
    run: rotateTokenKey,
  },
  {
    words: ['after-restore'],
    help: 'once after a dump was restored: numbers of versions and devices that it does not know are never given again, and everybody logs in anew',
    run: async ({ database, clock }, tell) => {
      const { resources, sessions } = await settleRestoredDatabase(database, new AuditLog(clock));
      tell(
        `${resources} resources go on ${SKIPPED_VERSIONS} version numbers further, new devices ${SKIPPED_SERIALS} serials; ${sessions} sessions were ended.`,
      );
      return 0;
    },
  },
  {
    words: ['trim-audit'],
    help: 'take the events of an export, given on standard input, out of the audit log, once both were checked',
    run: async (infrastructure, tell, _config, open) => {
      const input = open();
      if (input.isTTY === true) throw new Error('Give the export on standard input: trim-audit < FILE');
      const { clock } = infrastructure;
      const { events, through } = await infrastructure.asOwner((owner) =>
        new TrimAudit(owner, new AuditLog(clock), clock).run(input),
      );
      tell(`${events} events were taken out of the log, up to ${through.sequence} ${through.hash}.`);
      tell('Keep the export: without it nobody can tell what they were.');
      return 0;
    },
  },
];

/** The commands as the program knows them. @param out - Where they say what they did. @param input - What some of them read. */
export function maintenanceCommands(
  out: { write(text: string): unknown },
  input: () => CommandInput = () => process.stdin,
): readonly ServiceCommand<AdminConfig>[] {
  return COMMANDS.map((command) => ({
    words: command.words.join(' '),
    summary: command.help,
    run: (config) => maintain(config, command, out, input),
  }));
}

/**
 * Runs a command on the database and keys of the configuration.
 *
 * @returns The exit status: 0 done, 1 not done or something is left to do.
 */
async function maintain(
  config: AdminConfig,
  command: MaintenanceCommand,
  out: { write(text: string): unknown },
  input: () => CommandInput,
): Promise<number> {
  let infrastructure: Infrastructure | undefined;
  const tell = (text: string): void => void out.write(`${text}\n`);
  try {
    await command.before?.(config);
    infrastructure = await openInfrastructure(config, new SystemClock(), true);
    return await command.run(infrastructure, tell, config, input);
  } catch (error) {
    tell(`Not done: ${error instanceof Error ? error.message : 'unknown reason'}`);
    return 1;
  } finally {
    await infrastructure?.close();
  }
}

function rotation({ database, vault, clock }: Infrastructure): RotateKek {
  return new RotateKek(database, vault, new AuditLog(clock));
}

async function rotateKek(infrastructure: Infrastructure, tell: Tell): Promise<number> {
  const { rewrapped, left } = await rotation(infrastructure).run();
  tell(`${rewrapped} stored keys were wrapped under the first key of the KEK file.`);
  return leftOver(left, tell);
}

function leftOver(left: number, tell: Tell): number {
  tell(
    left === 0
      ? '0 are left under earlier keys: once every replica has the new file, those are needed for backups only.'
      : `${left} are left under earlier keys: give every replica the new file, then run "rotate-kek" again.`,
  );
  return left === 0 ? 0 : 1;
}

async function rotateTokenKey(
  { database, vault, clock }: Infrastructure,
  tell: Tell,
  { accessTokenSeconds }: AdminConfig,
): Promise<number> {
  const keys = new TokenKeys(
    database,
    new SigningKeys(database, vault, clock),
    new AuditLog(clock),
    clock,
    accessTokenSeconds,
  );
  const { kid, signsFrom, olderKeyUntil } = await keys.rotate({ id: 'system', address: '' });
  tell(`The key ${kid} is published now and signs from ${signsFrom.toISOString()} on.`);
  tell(
    `The key before it is accepted until ${olderKeyUntil.toISOString()}, when its last token is dead; then it goes by itself.`,
  );
  return 0;
}
