import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';

import { Secret } from '@azaion/kernel';
import { IsBoolean, IsInt, IsString, IsUrl, Max, Min, MinLength } from 'class-validator';

import { ConfigError, EnvFlag, EnvInteger, EnvList, EnvSecret, EnvText, printConfig, readConfig } from './config.js';
import { Optional } from './optional.js';

class Base {
  @EnvText('APP_HOST')
  @IsString()
  host = '127.0.0.1';
}

class Config extends Base {
  @EnvText('APP_API_URL')
  @IsUrl({ require_tld: false })
  apiUrl!: string;

  @EnvInteger('APP_PORT')
  @IsInt()
  @Min(1)
  @Max(65535)
  port = 8080;

  @EnvFlag('APP_TRUST')
  @IsBoolean()
  trust = false;

  @EnvList('APP_IMAGES')
  @IsString({ each: true })
  images: readonly string[] = ['a', 'b'];

  @EnvSecret('APP_PASSWORD')
  @Optional()
  @MinLength(12)
  password: Secret<string> | undefined;
}

const API = { APP_API_URL: 'https://api.example' };

describe('readConfig', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'azaion-config-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  function file(text: string): string {
    const path = join(directory, 'secret');
    writeFileSync(path, text);
    return path;
  }

  function problemsOf(env: Record<string, string>): readonly string[] {
    try {
      readConfig(Config, env);
    } catch (error) {
      if (error instanceof ConfigError) return error.problems;
    }
    throw new Error('the configuration was accepted');
  }

  it('takes defaults for what is unset or empty', () => {
    const config = readConfig(Config, { ...API, APP_PORT: '', APP_TRUST: '', APP_PASSWORD: '' });
    expect(config).toMatchObject({
      host: '127.0.0.1',
      port: 8080,
      trust: false,
      images: ['a', 'b'],
      password: undefined,
    });
  });

  it('reads every kind of variable', () => {
    const config = readConfig(Config, {
      ...API,
      APP_HOST: '0.0.0.0',
      APP_PORT: '65535',
      APP_TRUST: 'true',
      APP_IMAGES: ' x , ,y,',
      APP_PASSWORD: 'twelve chars',
    });
    expect(config).toBeInstanceOf(Config);
    expect(config).toMatchObject({ host: '0.0.0.0', port: 65535, trust: true, images: ['x', 'y'] });
    expect(config.password?.reveal()).toBe('twelve chars');
  });

  it('reads a secret from a file, without its last line break', () => {
    const config = readConfig(Config, { ...API, APP_PASSWORD_FILE: file(' twelve chars \r\n') });
    expect(config.password?.reveal()).toBe(' twelve chars ');
  });

  it('reports every problem at once, by the variable and without its value', () => {
    const problems = problemsOf({
      APP_PORT: '70000',
      APP_TRUST: 'geheim1',
      APP_PASSWORD: 'geheim2',
    });
    expect(problems.map((problem) => problem.split(':')[0]).sort()).toEqual([
      'APP_API_URL',
      'APP_PASSWORD',
      'APP_PORT',
      'APP_TRUST',
    ]);
    expect(problems).toContain('APP_API_URL: is required');
    expect(problems.join()).not.toMatch(/geheim|70000/);
  });

  it.each(['x', '1.5', '1e3', '0x10', '99999999999999999', ' ', '-1', '0'])('refuses the port %j', (port) => {
    expect(problemsOf({ ...API, APP_PORT: port })).toEqual([expect.stringMatching(/^APP_PORT: /)]);
  });

  it.each(['TRUE', 'yes', '1', 'on'])('refuses the flag %j', (flag) => {
    expect(problemsOf({ ...API, APP_TRUST: flag })).toEqual([expect.stringMatching(/^APP_TRUST: /)]);
  });

  it('reports a secret file that is missing, empty, too short or beside the variable, once and without its path', () => {
    const cases: Record<string, string>[] = [
      { APP_PASSWORD_FILE: join(directory, 'missing') },
      { APP_PASSWORD_FILE: directory },
      { APP_PASSWORD_FILE: file('') },
      { APP_PASSWORD_FILE: file('geheim'), APP_PASSWORD: 'twelve chars' },
    ];
    for (const env of cases) {
      const problems = problemsOf({ ...API, ...env });
      expect(problems).toHaveLength(1);
      expect(problems[0]).toMatch(/^APP_PASSWORD(_FILE)?: /);
      expect(problems[0]).not.toContain(directory);
    }
    expect(problemsOf({ ...API, APP_PASSWORD_FILE: file('geheim') })).toEqual([
      expect.stringMatching(/^APP_PASSWORD: /),
    ]);
  });
});

describe('printConfig', () => {
  it('shows what is in effect, in order, with secrets and credentials in addresses masked', () => {
    const config = readConfig(Config, {
      APP_API_URL: 'https://user:geheim@api.example/path',
      APP_PASSWORD: 'geheim geheim',
    });
    expect(printConfig(config).split('\n')).toEqual([
      'APP_HOST=127.0.0.1',
      'APP_API_URL=https://[redacted]@api.example/path',
      'APP_PORT=8080',
      'APP_TRUST=false',
      'APP_IMAGES=a,b',
      'APP_PASSWORD=[redacted]',
    ]);
    expect(inspect(config.password)).not.toContain('geheim');
  });

  it.each([
    ['http://user:geheim@proxy:3128', 'http://[redacted]@proxy:3128'],
    ['http://user:ge@heim@proxy:3128/x', 'http://[redacted]@proxy:3128/x'],
    ['http://user:ge/heim@proxy', 'http://[redacted]@proxy'],
    ['http://user:ge?he#im@proxy', 'http://[redacted]@proxy'],
    ['http://geheim@proxy', 'http://[redacted]@proxy'],
    ['HTTP://user:geheim@proxy', 'HTTP://[redacted]@proxy'],
    ['user:geheim@proxy:3128', '[redacted]@proxy:3128'],
    ['user:ge@heim@proxy:3128', '[redacted]@proxy:3128'],
    ['//user:geheim@proxy', '[redacted]@proxy'],
    ['http://user:ge\nheim@proxy', 'http://[redacted]@proxy'],
    ['http://proxy:3128', 'http://proxy:3128'],
    ['operator@azaion.com', 'operator@azaion.com'],
  ])('shows of %j only %j', (host, shown) => {
    const config = readConfig(Config, { ...API, APP_HOST: host });
    expect(printConfig(config).split('\nAPP_API_URL')[0]).toBe(`APP_HOST=${shown}`);
  });
});
