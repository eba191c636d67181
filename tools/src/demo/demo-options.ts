import { parseArgs } from 'node:util';

/** How the demo runs. */
export interface DemoOptions {
  /** End after the summary instead of staying up. */
  readonly exit: boolean;
  /** Print one JSON object as the last line of standard output; text for people goes to standard error. */
  readonly json: boolean;
  /** Delete the data of earlier runs first. */
  readonly fresh: boolean;
  /** Where everything lies. */
  readonly directory: string;
}

/** Shown with `--help`. */
export const DEMO_HELP = `npm start [-- options]
  --exit         end after the summary: status 0 when everything worked
  --json         print one JSON object with the figures as the last line of standard output
  --fresh        delete the data of earlier runs first
  --data DIR     where everything lies (default .azaion/demo)
  --help         show this`;

/**
 * Reads the demo's command line.
 *
 * @returns The options, or `undefined` when help was asked for.
 * @throws TypeError for anything that is not an option.
 */
export function parseDemoOptions(args: readonly string[], defaultDirectory: string): DemoOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      exit: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      fresh: { type: 'boolean', default: false },
      data: { type: 'string', default: defaultDirectory },
      help: { type: 'boolean', default: false },
    },
  });
  return values.help
    ? undefined
    : { exit: values.exit, json: values.json, fresh: values.fresh, directory: values.data };
}
