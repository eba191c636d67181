import { spawn } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Root of the workspace. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** The workspace's own programs come first, also its Node, when a script was not started by npm. */
const environment = {
  ...process.env,
  PATH: [join(root, 'node_modules', '.bin'), process.env.PATH ?? ''].join(delimiter),
  NX_DAEMON: 'false',
};

/**
 * Runs a command of the workspace from its root and passes its output on.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {Record<string, string>} [env] - Added to the environment.
 * @returns {Promise<{ status: number, output: string }>} A command ended by a signal has status 1.
 */
export async function run(command, args, env = {}) {
  const child = spawn(command, args, {
    cwd: root,
    env: { ...environment, ...env },
    stdio: ['inherit', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.on('data', (piece) => {
    output += piece;
    process.stdout.write(piece);
  });
  child.stderr.on('data', (piece) => {
    output += piece;
    process.stderr.write(piece);
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ status: code ?? 1, output }));
  });
}

/** What Jest needs for real ES modules. */
export const jestEnvironment = { NODE_OPTIONS: '--experimental-vm-modules --disable-warning=ExperimentalWarning' };
