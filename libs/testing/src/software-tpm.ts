import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { runCommand } from './run-command.js';
import { type RunningProcess, startProcess } from './running-process.js';
import { tempDirectory } from './temp-directory.js';

/** A TPM 2.0 in software, with a state of its own. It has no resource manager: one command at a time. */
export interface SoftwareTpm {
  /** For `TPM2TOOLS_TCTI`. */
  readonly tcti: string;
  /** Runs a command of the tpm2-tools on it, beside the product. @returns Its output. */
  tool(...args: readonly string[]): Promise<string>;
  /** Changes a register, as other firmware would at the next boot. */
  extendPcr(pcr: number): Promise<void>;
  /** What is loaded now: transient objects, loaded sessions, saved sessions. Empty when everything was put away. */
  handles(): Promise<readonly string[]>;
  /** Cuts its power and starts it again: registers are zero, its store is kept. */
  restart(): Promise<void>;
  /** Cuts its power for good, keeping its store until {@link remove}. */
  halt(): Promise<void>;
  /** Stops it and deletes its state. */
  remove(): Promise<void>;
}

/** What a TPM is made with. */
export interface SoftwareTpmOptions {
  /** Also makes an endorsement key with a certificate of a test authority; takes some seconds. */
  readonly endorsement?: TestTpmAuthority;
}

/** A maker of TPMs: the authority that certifies their endorsement keys. */
export interface TestTpmAuthority {
  /** Configuration for `swtpm_setup`. */
  readonly setupConfiguration: string;
  /** PEM files: the root first, then the issuer. Present once the first TPM was made. */
  readonly certificateFiles: readonly string[];
  remove(): Promise<void>;
}

/** Makes an authority with a root and an issuer of its own. */
export async function testTpmAuthority(): Promise<TestTpmAuthority> {
  const directory = await tempDirectory('azaion-tpm-ca');
  const at = (name: string): string => join(directory.path, name);
  await writeFile(
    at('localca.conf'),
    [
      `statedir = ${directory.path}`,
      `signingkey = ${at('signkey.pem')}`,
      `issuercert = ${at('issuercert.pem')}`,
      `certserial = ${at('certserial')}`,
      '',
    ].join('\n'),
  );
  await writeFile(
    at('localca.options'),
    '--platform-manufacturer Azaion\n--platform-version 1\n--platform-model Test\n',
  );
  await writeFile(
    at('setup.conf'),
    [
      'create_certs_tool = swtpm_localca',
      `create_certs_tool_config = ${at('localca.conf')}`,
      `create_certs_tool_options = ${at('localca.options')}`,
      'active_pcr_banks = sha256',
      '',
    ].join('\n'),
  );
  return {
    setupConfiguration: at('setup.conf'),
    certificateFiles: [at('swtpm-localca-rootca-cert.pem'), at('issuercert.pem')],
    remove: () => directory.remove(),
  };
}

/**
 * Makes and starts a TPM.
 *
 * @throws Error with its output when it does not start.
 */
export async function startSoftwareTpm(options: SoftwareTpmOptions = {}): Promise<SoftwareTpm> {
  const directory = await tempDirectory('azaion-tpm');
  const state = join(directory.path, 'state');
  const socket = join(directory.path, 'sock');
  await mkdir(state);
  const endorsement =
    options.endorsement === undefined
      ? []
      : ['--config', options.endorsement.setupConfiguration, '--createek', '--create-ek-cert'];
  await runCommand('swtpm_setup', [
    ...['--tpm2', '--tpmstate', state, '--overwrite', '--pcr-banks', 'sha256', '--lock-nvram'],
    ...endorsement,
  ]);
  let running: RunningProcess | undefined;
  const start = async (): Promise<void> => {
    await rm(socket, { force: true });
    running = await startProcess({
      command: 'swtpm',
      args: [
        ...['socket', '--tpm2', '--tpmstate', `dir=${state}`],
        ...['--server', `type=unixio,path=${socket}`, '--ctrl', `type=unixio,path=${socket}.ctrl`],
        ...['--flags', 'not-need-init,startup-clear'],
      ],
      ready: () =>
        stat(socket).then(
          () => true,
          () => false,
        ),
    });
  };
  const halt = async (): Promise<void> => {
    await running?.stop();
    running = undefined;
  };
  await start();
  const tcti = `swtpm:path=${socket}`;
  const tool = (...args: readonly string[]): Promise<string> =>
    runCommand('env', [`TPM2TOOLS_TCTI=${tcti}`, 'tpm2', ...args]);
  return {
    tcti,
    tool,
    extendPcr: async (pcr) => {
      await tool('pcrextend', `${String(pcr)}:sha256=${'ab'.repeat(32)}`);
    },
    handles: async () => {
      const lists = ['handles-transient', 'handles-loaded-session', 'handles-saved-session'];
      const found: string[] = [];
      for (const list of lists) found.push(...((await tool('getcap', list)).match(/0x[0-9a-f]+/gi) ?? []));
      return found;
    },
    restart: async () => {
      await halt();
      await start();
    },
    halt,
    remove: async () => {
      await halt();
      await directory.remove();
    },
  };
}
