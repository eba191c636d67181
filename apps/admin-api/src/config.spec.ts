import { ConfigError } from '@azaion/nest-support';

import { isProduction, readAdminConfig } from './config.js';

const PRODUCTION = {
  NODE_ENV: 'production',
  DATABASE_URL: 'postgresql://localhost/azaion',
  ADMIN_KEK_FILE: '/etc/azaion/kek',
  ADMIN_PUBLIC_URL: 'https://api.example.com',
  STATEMENT_KEY_DOCUMENT_FILE: '/etc/azaion/keys.jws',
  STATEMENT_ROOT_KEY_FILE: '/etc/azaion/root.json',
};

function problemsOf(env: Readonly<Record<string, string | undefined>>): readonly string[] {
  try {
    readAdminConfig(env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

describe('readAdminConfig', () => {
  it('needs nothing in development', () => {
    expect(isProduction(readAdminConfig({}))).toBe(false);
  });

  it('accepts a complete production environment', () => {
    expect(isProduction(readAdminConfig(PRODUCTION))).toBe(true);
  });

  it.each(['DATABASE_URL', 'ADMIN_KEK_FILE', 'ADMIN_PUBLIC_URL'])('needs %s in production', (name) => {
    const problems = problemsOf({ ...PRODUCTION, [name]: undefined });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(name);
  });

  it('needs the offline root in production, and lists all that is missing at once', () => {
    expect(problemsOf({ NODE_ENV: 'production' })).toHaveLength(4);
    const without = { STATEMENT_KEY_DOCUMENT_FILE: undefined, STATEMENT_ROOT_KEY_FILE: undefined };
    expect(problemsOf({ ...PRODUCTION, ...without })).toEqual([expect.stringContaining('STATEMENT_ROOT_KEY_FILE')]);
  });

  it.each([
    { STATEMENT_KEY_DOCUMENT_FILE: '/keys.jws' },
    { S3_BUCKET: 'packs' },
    { S3_ENDPOINT: 'http://localhost' },
    { S3_ACCESS_KEY_ID: 'id' },
    { S3_SECRET_ACCESS_KEY: 'secret' },
    { PASSWORD_HASH_MEMORY_KIB: '19455' },
    { PASSWORD_HASH_PASSES: '1' },
    { DATABASE_CONNECTIONS: '3' },
    { DATABASE_CONNECTIONS: '501' },
    { METRICS_TOKEN: 'fifteen letters' },
    { METRICS_TOKEN: 'two words that are long enough' },
    { METRICS_TOKEN: 'schlüsselwörterbuch' },
    { CORS_ORIGINS: '*' },
    { CORS_ORIGINS: 'https://console.example.com/' },
    { CORS_ORIGINS: 'console.example.com' },
    { CORS_ORIGINS: 'https://console.example.com,null' },
  ])('refuses %j alone', (env) => {
    expect(problemsOf(env)).toHaveLength(1);
  });
});
