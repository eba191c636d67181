import { IsString } from 'class-validator';

import { EnvText, readConfig } from './config.js';
import { type ProgramHost, runService, type ServiceProgram } from './run-service.js';

class ThingConfig {
  @EnvText('THING')
  @IsString()
  readonly thing!: string;
}

interface Run {
  readonly code: number;
  readonly printed: string;
  readonly complained: string;
  readonly did: readonly string[];
}

async function run(
  args: readonly string[],
  env: Record<string, string> = { THING: 'x' },
  failure?: Error,
): Promise<Run> {
  const did: string[] = [];
  let printed = '';
  let complained = '';
  const act = (what: string): Promise<void> => {
    did.push(what);
    return failure === undefined ? Promise.resolve() : Promise.reject(failure);
  };
  const program: ServiceProgram<ThingConfig> = {
    name: 'Thing',
    settings: 'Settings are in the sky.',
    manifest: new URL('../package.json', import.meta.url),
    readConfig: (given) => readConfig(ThingConfig, given),
    serve: ({ thing }, version) => act(`serve ${thing} ${version}`),
    commands: [
      {
        words: 'polish --twice',
        summary: 'Makes it shine',
        run: ({ thing }) => act(`polish ${thing}`).then(() => 7),
      },
    ],
  };
  const host: ProgramHost = {
    script: 'thing.js',
    args,
    env,
    print: (text) => (printed += text),
    complain: (text) => (complained += text),
  };
  const code = await runService(program, host);
  return { code, printed, complained, did };
}

describe('a service on the command line', () => {
  it('serves without arguments, and knows its version', async () => {
    expect(await run([])).toEqual({ code: 0, printed: '', complained: '', did: ['serve x 0.1.0'] });
  });

  it('prints its configuration and does nothing else', async () => {
    expect(await run(['--print-config'])).toEqual({ code: 0, printed: 'THING=x\n', complained: '', did: [] });
  });

  it('runs a command with the configuration, and ends with its code', async () => {
    expect(await run(['polish', '--twice'])).toMatchObject({ code: 7, did: ['polish x'] });
  });

  it('explains itself, whatever else is asked and however it is configured', async () => {
    const { code, printed, did } = await run(['polish', '--help'], {});
    expect({ code, did }).toEqual({ code: 0, did: [] });
    expect(printed).toContain('node thing.js [--print-config | --help]');
    expect(printed).toContain('Makes it shine');
  });

  it.each([
    [['--verbose']],
    [['polish']],
    [['polish', '--twice', 'more']],
    [['--print-config', 'polish']],
    [['toString']],
    [['']],
  ])('refuses %j and says what it knows', async (args) => {
    const { code, complained, did } = await run(args);
    expect({ code, did }).toEqual({ code: 2, did: [] });
    expect(complained).toContain('Usage: node thing.js');
  });

  it('refuses a configuration that cannot be used, by name', async () => {
    const { code, complained, did } = await run([], {});
    expect({ code, did }).toEqual({ code: 2, did: [] });
    expect(complained).toContain('THING: is required');
  });

  it('says in one sentence why it cannot start', async () => {
    expect(await run([], { THING: 'x' }, new Error('The port is taken.'))).toMatchObject({
      code: 1,
      complained: 'The Thing cannot start: The port is taken.\n',
    });
    expect(await run(['polish', '--twice'], { THING: 'x' }, new Error('No cloth.'))).toMatchObject({
      code: 1,
      complained: 'The Thing could not do "polish --twice": No cloth.\n',
    });
  });
});
