import { fileURLToPath } from 'node:url';

import { ConfigError } from '@azaion/nest-support';

import { isProduction, readLoaderConfig, unlockResourceOf } from './config.js';

const REQUIRED = { RESOURCE_API_URL: 'https://api.example' };

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    readLoaderConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe('readLoaderConfig', () => {
  it('needs nothing but the address of the Admin API', () => {
    expect(readLoaderConfig(REQUIRED)).toMatchObject({ host: '127.0.0.1', port: 8080, dataDir: '/var/lib/azaion' });
    expect(problemsOf({})).toEqual(['RESOURCE_API_URL: is required']);
  });

  it('reports all problems at once, by name and never with a value', () => {
    const problems = problemsOf({
      RESOURCE_API_URL: 'http://user-secret.example',
      LOADER_PORT: '70000',
      LOADER_BINDING: 'magic',
      ALLOW_INSECURE_API: 'perhaps',
      API_CA_FILE: '/no/such/file',
      API_VERSION: '../x',
      UNLOCK_RESOURCE: 'images',
    });
    const names = problems.map((problem) => problem.split(':', 1)[0]);
    expect(names.sort()).toEqual([
      'ALLOW_INSECURE_API',
      'API_CA_FILE',
      'API_VERSION',
      'LOADER_BINDING',
      'LOADER_PORT',
      'RESOURCE_API_URL',
      'UNLOCK_RESOURCE',
    ]);
    expect(problems.join()).not.toMatch(/user-secret|70000|magic|perhaps|no\/such/);
  });

  it.each([
    ['LOADER_SOCKET', 'relative.sock'],
    ['LOADER_SOCKET', `/${'x'.repeat(107)}`],
    ['LOADER_SOCKET_MODE', '888'],
    ['LOADER_SOCKET_MODE', '66'],
    ['METRICS_TOKEN', 'fifteen letters'],
  ])('refuses %s=%s', (name, value) => {
    expect(problemsOf({ ...REQUIRED, [name]: value })).toEqual([expect.stringContaining(`${name}: `)]);
    expect(problemsOf({ ...REQUIRED, [name]: '' })).toEqual([]);
  });

  it.each(['LOADER_TLS_CERT_FILE', 'LOADER_TLS_KEY_FILE'])('refuses %s alone, and files that are not there', (name) => {
    const here = fileURLToPath(import.meta.url);
    expect(problemsOf({ ...REQUIRED, [name]: here })).toEqual([expect.stringContaining('without the other')]);
    const both = { LOADER_TLS_CERT_FILE: here, LOADER_TLS_KEY_FILE: here };
    expect(problemsOf({ ...REQUIRED, ...both })).toEqual([]);
    expect(problemsOf({ ...REQUIRED, ...both, [name]: '/no/such/file' })).toEqual([
      expect.stringContaining(`${name}: the file cannot be read (ENOENT)`),
    ]);
  });

  it('sends credentials in clear to another machine only when that is allowed', () => {
    const env = { RESOURCE_API_URL: 'http://api.example' };
    expect(problemsOf(env)).toHaveLength(1);
    expect(problemsOf({ ...env, ALLOW_INSECURE_API: 'true' })).toEqual([]);
    expect(problemsOf({ RESOURCE_API_URL: 'http://127.0.0.1:8081' })).toEqual([]);
  });

  it('derives the archive to unlock from the version of the images', () => {
    expect(unlockResourceOf(readLoaderConfig(REQUIRED))).toEqual({ folder: 'images', name: 'azaion-latest' });
    expect(unlockResourceOf(readLoaderConfig({ ...REQUIRED, API_VERSION: '1.4.0' })).name).toBe('azaion-1.4.0');
    expect(unlockResourceOf(readLoaderConfig({ ...REQUIRED, UNLOCK_RESOURCE: 'fleet/all' }))).toEqual({
      folder: 'fleet',
      name: 'all',
    });
  });

  it('trusts on first sight unless it is production', () => {
    expect(isProduction(readLoaderConfig(REQUIRED))).toBe(false);
    expect(isProduction(readLoaderConfig({ ...REQUIRED, NODE_ENV: 'production' }))).toBe(true);
  });
});
