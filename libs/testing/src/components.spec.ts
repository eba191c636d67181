import { type ComponentName, describeWith, whyUnavailable } from './index.js';

/** Everything that `describeWith` registered, instead of being registered for real. */
const registrations = (needs: ComponentName, environment: Record<string, string>): string[] => {
  const registered: string[] = [];
  const run = (title: string, body: () => void): void => {
    registered.push(`run ${title}`);
    body();
  };
  const skip = (title: string): void => {
    registered.push(`skip ${title}`);
  };
  const describe = Object.assign(run, { skip });
  const it = (title: string, body: () => void): void => {
    registered.push(`test ${title}`);
    expect(body).toThrow('apt-get install');
  };
  const real = { describe: globalThis.describe, it: globalThis.it, env: process.env };
  Object.assign(globalThis, { describe, it });
  process.env = environment;
  try {
    describeWith(needs, 'a suite', () => registered.push('body'));
  } finally {
    Object.assign(globalThis, { describe: real.describe, it: real.it });
    process.env = real.env;
  }
  return registered;
};

describe('describeWith a component that is missing', () => {
  it('registers the suite as skipped and says what is missing and how to get it', () => {
    expect(registrations('ceph', { PATH: '/nowhere' })).toEqual([
      expect.stringMatching(/^skip a suite \[skipped: S3 object store.*ceph-mon.* not found.*apt-get install ceph-mon/),
    ]);
  });

  it('fails in CI, where nothing may be skipped', () => {
    expect(registrations('ceph', { PATH: '/nowhere', CI: 'true' })).toEqual([
      'run a suite',
      'test has the components that it needs',
    ]);
  });

  it('runs the suite when a service was lent instead', () => {
    expect(registrations('ceph', { PATH: '/nowhere', S3_TEST_ENDPOINT: 'http://127.0.0.1:9000' })).toEqual([
      'run a suite',
      'body',
    ]);
  });
});

describe('whyUnavailable', () => {
  it('does not need the administration directories in PATH', () => {
    const reason = whyUnavailable('docker');
    expect(reason ?? '').not.toMatch(/dockerd not found.*\/usr\/sbin/);
  });
});
