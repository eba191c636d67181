import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { ConfigError } from '@azaion/nest-support';

import { selfSignedCertificate, type TempDirectory, tempDirectory } from '@azaion/testing';

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

  describe('files', () => {
    let directory: TempDirectory;
    beforeEach(async () => (directory = await tempDirectory()));
    afterEach(() => directory.remove());
    const file = (name: string, text: string): string => {
      const path = join(directory.path, name);
      writeFileSync(path, text);
      return path;
    };
    const certificate = selfSignedCertificate();
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const rootKey = JSON.stringify(publicKey.export({ format: 'jwk' }));

    it.each(['LOADER_TLS_CERT_FILE', 'LOADER_TLS_KEY_FILE'])('refuses %s alone, and one that is not there', (name) => {
      const both = {
        LOADER_TLS_CERT_FILE: file('cert', certificate.cert),
        LOADER_TLS_KEY_FILE: file('key', certificate.key),
      };
      expect(problemsOf({ ...REQUIRED, [name]: both[name as keyof typeof both] })).toEqual([
        expect.stringContaining('without the other'),
      ]);
      expect(problemsOf({ ...REQUIRED, ...both })).toEqual([]);
      expect(problemsOf({ ...REQUIRED, ...both, [name]: '/no/such/file' })).toEqual([
        expect.stringContaining(`${name}: the file cannot be read (ENOENT)`),
      ]);
    });

    it('refuses a certificate with the key of another', () => {
      const files = {
        LOADER_TLS_CERT_FILE: file('cert', certificate.cert),
        LOADER_TLS_KEY_FILE: file('key', selfSignedCertificate().key),
      };
      expect(problemsOf({ ...REQUIRED, ...files })).toEqual([
        'LOADER_TLS_KEY_FILE: is not the key of the first certificate in LOADER_TLS_CERT_FILE',
      ]);
    });

    it('reports every file that does not hold what it must, together and without its content', () => {
      const junk = file('junk', 'geheim');
      const names = ['API_CA_FILE', 'UNLOCK_ALLOWED_IMAGES_FILE', 'STATEMENT_ROOT_KEY_FILE'];
      const tls = ['LOADER_TLS_CERT_FILE', 'LOADER_TLS_KEY_FILE'];
      const env = Object.fromEntries([...names, ...tls].map((name) => [name, junk]));
      const problems = problemsOf({ ...REQUIRED, ...env });
      expect(problems.map((problem) => problem.split(':', 1)[0])).toEqual([...names, ...tls]);
      expect(problems.join()).not.toMatch(/geheim|junk/);
      const second = file('two', `${certificate.cert}${certificate.cert.replace(/\n[^-]{8}/, '\nAAAAAAAA')}`);
      expect(problemsOf({ ...REQUIRED, API_CA_FILE: second })).toEqual([
        "API_CA_FILE: the file's certificate number 2 cannot be read",
      ]);
    });

    it('takes a bundle of certificates with comments, and a root key', () => {
      const bundle = file('ca', `# one\n${certificate.cert}# two\n${selfSignedCertificate().cert}`);
      const env = { API_CA_FILE: bundle, STATEMENT_ROOT_KEY_FILE: file('root', rootKey), NODE_ENV: 'production' };
      expect(problemsOf({ ...REQUIRED, ...env })).toEqual([]);
      expect(isProduction(readLoaderConfig({ ...REQUIRED, ...env }))).toBe(true);
    });

    it('wants the root key in production, from a file or from device.conf', () => {
      const account = 'AZAION_DEVICE_EMAIL=azj-0007@azaion.com\nAZAION_DEVICE_PASSWORD=geheim\n';
      const production = { ...REQUIRED, NODE_ENV: 'production' };
      expect(problemsOf(production)).toEqual([expect.stringMatching(/^STATEMENT_ROOT_KEY_FILE: is required in prod/)]);
      expect(problemsOf({ ...production, LEGACY_API: 'true' })).toEqual([]);
      const withRoot = file('with-root', `${account}AZAION_STATEMENT_ROOT='${rootKey}'\n`);
      expect(problemsOf({ ...production, DEVICE_CONF: withRoot })).toEqual([]);
      const bad = file('bad-root', `${account}AZAION_STATEMENT_ROOT='{"kty":"geheim"}'\n`);
      expect(problemsOf({ ...production, DEVICE_CONF: bad })).toEqual([
        expect.stringMatching(/^DEVICE_CONF: AZAION_STATEMENT_ROOT cannot be used/),
      ]);
      expect(problemsOf({ ...production, DEVICE_CONF: bad }).join()).not.toContain('geheim');
    });

    it('says what is wrong with device.conf, not that what may stand in it is missing', () => {
      expect(problemsOf({ DEVICE_CONF: directory.path })).toEqual([
        'DEVICE_CONF: the file cannot be read (EISDIR): check its owner and permissions',
      ]);
      const noAccount = file('device.conf', 'AZAION_DEVICE_PASSWORD=geheim\nRESOURCE_API_URL=https://api.example\n');
      expect(problemsOf({ DEVICE_CONF: noAccount, LOADER_PORT: 'x' })).toEqual([
        expect.stringMatching(/^LOADER_PORT: /),
        'DEVICE_CONF: AZAION_DEVICE_EMAIL is missing or not the address of a device.',
      ]);
      expect(problemsOf({ DEVICE_CONF: join(directory.path, 'none') })).toEqual(['RESOURCE_API_URL: is required']);
    });
  });

  it.each([
    ['proxy.example:3128', false],
    ['user:geheim@proxy:3128', false],
    ['http://user:100%@proxy:3128', false],
    ['ftp://proxy', false],
    ['http://proxy/path', false],
    ['http://proxy?geheim', false],
    ['http://proxy:70000', false],
    ['http://proxy:3128', true],
    ['http://user:100%25@proxy:3128/', true],
    ['https://proxy', true],
  ])('takes the proxy %s: %s', (proxy, taken) => {
    const problems = problemsOf({ ...REQUIRED, HTTPS_PROXY: proxy });
    expect(problems).toEqual(taken ? [] : [expect.stringMatching(/^HTTPS_PROXY: must be a URL such as /)]);
    expect(problems.join()).not.toMatch(/geheim|100%/);
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

  it('is not production unless it is told so', () => {
    expect(isProduction(readLoaderConfig(REQUIRED))).toBe(false);
  });
});
