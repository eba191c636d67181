import { execFile } from 'node:child_process';
import { join } from 'node:path';

const MAX_OUTPUT_BYTES = 4 * 1024 * 1024;

/** The `azaion` command as one person uses it: with a profile of their own. */
export class AzaionCommand {
  constructor(
    private readonly workspace: string,
    private readonly profile: string,
  ) {}

  /**
   * Runs a command line to its end.
   *
   * @returns The JSON object that it printed.
   * @throws Error with what the command said when it did not end with status 0.
   */
  async run(args: readonly string[], password?: string): Promise<Readonly<Record<string, unknown>>> {
    const main = join(this.workspace, 'apps', 'cli', 'dist', 'main.js');
    const env = { ...process.env, AZAION_PROFILE: this.profile, AZAION_PASSWORD: password ?? '' };
    const output = await new Promise<string>((resolve, reject) => {
      execFile(
        process.execPath,
        [main, ...args, '--json'],
        { env, maxBuffer: MAX_OUTPUT_BYTES },
        (error, stdout, stderr) => {
          if (error === null) resolve(stdout);
          else reject(new Error(`azaion ${args.join(' ')} failed: ${stdout}${stderr}`, { cause: error }));
        },
      );
    });
    return JSON.parse(output) as Record<string, unknown>;
  }
}
