import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { promisify } from 'node:util';

import { openDeviceIdentity } from '@azaion/adapters/device-identity';
import { utf8 } from '@azaion/kernel';
import {
  describeWith,
  selfSignedCertificate,
  type SoftwareTpm,
  startSoftwareTpm,
  type TempDirectory,
  tempDirectory,
} from '@azaion/testing';

import { runCommandLine } from '../program.js';
import type { Finding } from './finding.js';

interface Outcome {
  readonly status: number;
  readonly json: { readonly ok: boolean; readonly findings?: readonly Finding[]; readonly [member: string]: unknown };
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

describe('azaion doctor', () => {
  let directory: TempDirectory;
  let api: Server;
  let env: Record<string, string>;
  let clockOffMs = 0;

  beforeAll(async () => {
    api = createServer((_, answer) => {
      answer.setHeader('date', new Date(Date.now() + clockOffMs).toUTCString());
      answer.end('{}');
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => api.once('listening', resolve));
  });
  afterAll(() => new Promise((resolve) => api.close(resolve)));
  beforeEach(async () => {
    clockOffMs = 0;
    directory = await tempDirectory();
    const dataDir = join(directory.path, 'data');
    const conf = join(directory.path, 'device.conf');
    await mkdir(dataDir, { mode: 0o700 });
    await writeFile(conf, "AZAION_DEVICE_EMAIL='azj-0007@azaion.com'\nAZAION_DEVICE_PASSWORD='secret'\n", {
      mode: 0o600,
    });
    env = {
      PATH: process.env['PATH'] ?? '',
      DEVICE_CONF: conf,
      LOADER_DATA_DIR: dataDir,
      LOADER_BINDING: 'credentials',
      TPM_TCTI: `swtpm:path=${join(directory.path, 'no-tpm')}`,
      RESOURCE_API_URL: `http://127.0.0.1:${String(portOf(api))}`,
      CONTAINER_CLI: 'no-such-engine',
      AZAION_PROFILE: join(directory.path, 'profile.json'),
    };
  });
  afterEach(() => directory.remove());

  const run = async (...args: readonly string[]): Promise<Outcome> => {
    let text = '';
    const status = await runCommandLine([...args, '--json'], {
      stdout: { write: (part) => (text += part) },
      stderr: { write: () => undefined },
      stdin: new PassThrough().end(),
      env,
      version: '0.0.0',
      signal: new AbortController().signal,
    });
    return { status, json: JSON.parse(text) as Outcome['json'] };
  };
  const findingsOf = ({ json }: Outcome, check: Finding['check']): readonly Finding[] =>
    (json.findings ?? []).filter((finding) => finding.check === check);

  it('passes what is in order, and warns of what a device can do without', async () => {
    const outcome = await run('doctor');
    expect(outcome).toMatchObject({ status: 0, json: { ok: true, healthy: true } });
    for (const check of ['api', 'clock', 'permissions'] as const)
      expect(findingsOf(outcome, check)).toMatchObject([{ state: 'ok' }]);
    for (const check of ['engine', 'tpm', 'binding'] as const)
      expect(findingsOf(outcome, check)).toMatchObject([{ state: 'warns', remedy: expect.any(String) as string }]);
    expect(findingsOf(outcome, 'cdn')).toMatchObject([{ state: 'not checked' }]);
  });

  it('fails with the remedy when other users may read what they must not', async () => {
    await chmod(env['DEVICE_CONF']!, 0o644);
    const outcome = await run('doctor');
    expect(outcome).toMatchObject({ status: 8, json: { ok: false, healthy: false, error: { code: 'doctor.fails' } } });
    expect(findingsOf(outcome, 'permissions')).toMatchObject([
      { state: 'fails', remedy: `chmod go= ${env['DEVICE_CONF']!}` },
    ]);
  });

  it('quotes the path of a remedy for a shell', async () => {
    env['DEVICE_CONF'] = join(directory.path, "it's of $(this) device");
    await writeFile(env['DEVICE_CONF'], "AZAION_DEVICE_EMAIL='azj-0007@azaion.com'\n");
    await chmod(env['DEVICE_CONF'], 0o644);
    const [{ remedy } = {}] = findingsOf(await run('doctor'), 'permissions');
    expect(remedy).toMatch(/^chmod go= '/);
    await promisify(execFile)('sh', ['-c', remedy ?? '']);
    expect((await stat(env['DEVICE_CONF'])).mode & 0o777).toBe(0o600);
  });

  it('tells people what it has found on standard output, and only the failure itself beside it', async () => {
    const told = async (): Promise<readonly [string, string]> => {
      let [stdout, stderr] = ['', ''];
      await runCommandLine(['doctor'], {
        stdout: { write: (part) => (stdout += part) },
        stderr: { write: (part) => (stderr += part) },
        stdin: new PassThrough().end(),
        env,
        version: '0.0.0',
        signal: new AbortController().signal,
      });
      return [stdout, stderr];
    };
    const [healthy, nothing] = await told();
    expect(healthy).toContain('ok          permissions: ');
    expect(nothing).toBe('');
    await chmod(env['DEVICE_CONF']!, 0o644);
    const [found, failure] = await told();
    expect(found).toContain('fails       permissions: ');
    expect(found).toContain('ok          api: ');
    expect(failure).toMatch(/^azaion: 1 of \d+ checks fail: permissions\. \[doctor\.fails\]\n/);
    expect(failure).not.toContain('api: ');
  });

  it.each([-3600_000, 3600_000])('fails when the clock is off by %i ms', async (offMs) => {
    clockOffMs = offMs;
    expect(findingsOf(await run('doctor'), 'clock')).toMatchObject([{ state: 'fails' }]);
  });

  it('fails where leases are kept and the record of the trusted time is missing or damaged', async () => {
    const dataDir = env['LOADER_DATA_DIR'] ?? '';
    const state = async (): Promise<string | undefined> =>
      (await run('doctor')).json.findings?.find(({ check }) => check === 'leases')?.state;
    expect(await state()).toBe('ok');
    await mkdir(join(dataDir, 'leases', 'models', 'a.onnx'), { recursive: true, mode: 0o700 });
    await writeFile(join(dataDir, 'leases', 'models', 'a.onnx', '1.json'), '{}', { mode: 0o600 });
    expect(await state()).toBe('fails');
    await writeFile(join(dataDir, 'time-mark'), `${'A'.repeat(43)}\n{"signedSeconds":1}`, { mode: 0o600 });
    expect(await state()).toBe('ok');
    await writeFile(join(dataDir, 'time-mark'), 'cut');
    expect(await state()).toBe('fails');
  });

  it('fails without an Admin API, a CDN or a data directory that answer', async () => {
    env['RESOURCE_API_URL'] = 'http://127.0.0.1:9';
    env['LOADER_DATA_DIR'] = join(directory.path, 'missing');
    const outcome = await run('doctor', '--cdn', 'http://127.0.0.1:9/');
    for (const check of ['api', 'cdn', 'disk'] as const)
      expect(findingsOf(outcome, check)).toMatchObject([{ state: 'fails', remedy: expect.any(String) as string }]);
    expect(findingsOf(outcome, 'clock')).toMatchObject([{ state: 'not checked' }]);
  });

  describe('asks as the Loader would', () => {
    const certificate = selfSignedCertificate();
    const secure = createTlsServer(certificate, (_, answer) => answer.end('{}'));
    /** The only way to anywhere: tunnels lead to the secure Admin API, and plain requests are answered as an object store does. */
    const proxy = createServer((_, answer) => answer.writeHead(403).end());
    proxy.on('connect', (_, client) => {
      const onward = connect(portOf(secure), '127.0.0.1', () => client.write('HTTP/1.1 200 OK\r\n\r\n'));
      for (const [one, other] of [
        [client, onward],
        [onward, client],
      ] as const)
        one.on('error', () => other.destroy()).pipe(other);
    });
    beforeAll(() => Promise.all([secure, proxy].map((server) => once(server.listen(0, '127.0.0.1'), 'listening'))));
    afterAll(() => {
      for (const server of [secure, proxy]) server.closeAllConnections();
      return Promise.all([secure, proxy].map((server) => once(server.close(), 'close')));
    });
    beforeEach(async () => {
      env['API_CA_FILE'] = join(directory.path, 'ca.pem');
      await writeFile(env['API_CA_FILE'], certificate.cert);
    });

    it('trusts the authorities of API_CA_FILE', async () => {
      env['RESOURCE_API_URL'] = `https://localhost:${String(portOf(secure))}`;
      for (const check of ['api', 'clock'] as const)
        expect(findingsOf(await run('doctor'), check)).toMatchObject([{ state: 'ok' }]);
      env['API_CA_FILE'] = '';
      expect(findingsOf(await run('doctor'), 'api')).toMatchObject([
        { state: 'fails', says: expect.stringContaining('DEPTH_ZERO_SELF_SIGNED_CERT') as string },
      ]);
    });

    it('goes through HTTPS_PROXY, to the object store too', async () => {
      env['HTTPS_PROXY'] = `http://127.0.0.1:${String(portOf(proxy))}`;
      env['RESOURCE_API_URL'] = 'https://localhost:9';
      const outcome = await run('doctor', '--cdn', 'http://127.0.0.1:9/');
      for (const check of ['api', 'clock', 'cdn'] as const)
        expect(findingsOf(outcome, check)).toMatchObject([{ state: 'ok' }]);
    });

    it('and so does an enrolment', async () => {
      env['HTTPS_PROXY'] = `http://127.0.0.1:${String(portOf(proxy))}`;
      env['RESOURCE_API_URL'] = 'https://localhost:9';
      // It got an answer, though not one of an Admin API.
      expect((await run('device', 'enrol')).json).toMatchObject({ error: { code: 'api.unexpected' } });
    });

    it.each([
      ['API_CA_FILE', '/no/such/file', 'the file cannot be read (ENOENT)'],
      ['API_CA_FILE', '/dev/null', 'the file holds no certificate in PEM form'],
      ['HTTPS_PROXY', 'proxy.example:3128', 'must be a URL such as http://proxy.example:3128'],
      ['RESOURCE_API_URL', 'http://api.example', 'must be an https URL'],
    ])('fails where the Loader would not start: %s=%s', async (name, value, why) => {
      env[name] = value;
      const outcome = await run('doctor', '--cdn', env['RESOURCE_API_URL'] ?? '');
      expect(findingsOf(outcome, 'api')).toMatchObject([
        {
          state: 'fails',
          says: expect.stringContaining(`${name}: ${why}`) as string,
          remedy: expect.any(String) as string,
        },
      ]);
      expect(findingsOf(outcome, 'clock')).toMatchObject([{ state: 'not checked' }]);
    });
  });

  it('fails without a TPM where the TPM is configured', async () => {
    env['LOADER_BINDING'] = 'tpm';
    expect(findingsOf(await run('doctor'), 'tpm')).toMatchObject([{ state: 'fails' }]);
  });

  it('leaves no keys behind', async () => {
    await run('doctor');
    await run('device', 'status');
    await expect(readFile(join(env['LOADER_DATA_DIR']!, 'device-keys.json'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  describeWith('tpm', 'with a TPM', () => {
    let tpm: SoftwareTpm;
    beforeAll(async () => {
      tpm = await startSoftwareTpm();
    });
    afterAll(() => tpm.remove());
    beforeEach(() => {
      env['TPM_TCTI'] = tpm.tcti;
      env['LOADER_BINDING'] = 'auto';
    });

    it('warns of chosen registers that are all zero, until something is measured into them', async () => {
      const zero = await run('doctor');
      expect(findingsOf(zero, 'tpm')).toMatchObject([{ state: 'ok' }, { state: 'warns' }]);
      expect(findingsOf(zero, 'tpm')[1]!.says).toContain('registers 0, 2, 4, 7');
      for (const pcr of [0, 2, 4, 7]) await tpm.extendPcr(pcr);
      expect(findingsOf(await run('doctor'), 'tpm')).toMatchObject([{ state: 'ok' }]);
    });

    it('finds the binding that the Loader would take', async () => {
      expect((await run('device', 'status')).json).toMatchObject({ serial: 'azj-0007', binding: 'tpm' });
    });

    it('goes from the boot state over a signed policy to keys that work', async () => {
      const key = join(directory.path, 'policy-key.json');
      const policies = join(directory.path, 'policies.json');
      expect((await run('keys', 'root', 'create', '-o', key, '--no-passphrase')).status).toBe(0);
      const sign = async (epoch: number): Promise<Outcome> => {
        const { json } = await run('device', 'boot-state');
        const state = ['--pcr-digest', json['pcrDigest'] as string, '--model', 'carrier-a', '--epoch', String(epoch)];
        return run('device', 'sign-boot-policy', '--key', key, ...state, '-o', policies);
      };
      expect(await sign(5)).toMatchObject({ status: 0, json: { policies: 1 } });
      const { identity, close } = await openDeviceIdentity(
        {
          binding: 'tpm',
          dataDir: env['LOADER_DATA_DIR']!,
          tpmTcti: tpm.tcti,
          tpmPcrs: 'sha256:7',
          tpmPolicyKeyFile: `${key}.pub.json`,
          tpmPolicyFile: policies,
        },
        () => undefined,
      );
      await expect(identity.sign(utf8('x'))).resolves.toHaveLength(64);
      await tpm.extendPcr(4);
      await expect(identity.sign(utf8('x'))).rejects.toMatchObject({ code: 'device.tpm-policy' });
      expect(await sign(6)).toMatchObject({ status: 0, json: { policies: 2 } });
      await expect(identity.sign(utf8('x'))).resolves.toHaveLength(64);
      await close();
    });

    it('signs nothing that is no boot state', async () => {
      const state = ['--pcr-digest', 'ff', '--model', 'a', '--epoch', '1', '--key', 'k', '-o', 'o'];
      expect((await run('device', 'sign-boot-policy', ...state)).status).toBe(2);
      const epoch = ['--pcr-digest', 'f'.repeat(64), '--model', 'a', '--epoch', '0', '--key', 'k', '-o', 'o'];
      expect((await run('device', 'sign-boot-policy', ...epoch)).status).toBe(2);
    });
  });
});
