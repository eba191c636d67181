import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describeWith, type TempDirectory, tempDirectory } from '@azaion/testing';

import { probeTpm } from './probe-tpm.js';
import { tpmError } from './tpm-failure.js';

/** What tpm2-tools 5.4 with tss2 3.2 prints when it cannot open a device, with the kernel's reason. */
const notOpened = (why: string): string =>
  [
    `ERROR:tcti:src/tss2-tcti/tcti-device.c:452:Tss2_Tcti_Device_Init() Failed to open specified TCTI device file /dev/tpmrm0: ${why} `,
    'ERROR:tcti:src/tss2-tcti/tctildr-dl.c:154:tcti_from_file() Could not initialize TCTI file: device ',
    'ERROR:tcti:src/tss2-tcti/tctildr.c:428:Tss2_TctiLdr_Initialize_Ex() Failed to instantiate TCTI ',
    'ERROR: Could not load tcti, got: "device:/dev/tpmrm0"',
  ].join('\n');

describe('what the tpm2-tools print', () => {
  it.each([
    [
      'a device that is not there',
      notOpened('No such file or directory'),
      'device.tpm-absent',
      /passed into the container/,
    ],
    ['a device whose driver is gone', notOpened('No such device'), 'device.tpm-absent', /TPM_TCTI/],
    ['a device that this user may not open', notOpened('Permission denied'), 'device.tpm-absent', /usually tss/],
    ['a device that the sandbox forbids', notOpened('Operation not permitted'), 'device.tpm-absent', /usually tss/],
    ['a device that another program holds', notOpened('Device or resource busy'), 'device.tpm-busy', /tpmrm0/],
    [
      'an address that nothing understands',
      'ERROR: Could not load tcti, got: "nonsense:x"',
      'device.tpm-absent',
      /TPM_TCTI/,
    ],
    [
      'an answer that is none of a TPM',
      'ERROR: Esys_GetCapability(0xA0001) - tcti:Catch all',
      'device.tpm-failed',
      /log/,
    ],
    [
      'a TPM without room for a session',
      'ERROR: Esys_StartAuthSession(0x903) - tpm:warn(2.0): out of memory',
      'device.tpm-busy',
      /again/,
    ],
    ['a TPM that tests itself', 'ERROR: Esys_GetRandom(0x90A) - tpm:warn(2.0): testing', 'device.tpm-busy', /again/],
    ['a TPM in lockout', 'ERROR: Esys_Unseal(0x921) - tpm:warn(2.0): lockout', 'device.tpm-lockout', /locked/],
    [
      'another boot state',
      'ERROR: Esys_Sign(0x99D) - tpm:session(1):a policy check failed',
      'device.tpm-policy',
      /boot/,
    ],
    [
      "another TPM's key",
      'ERROR: Esys_Load(0x1DF) - tpm:parameter(1):integrity check failed',
      'device.tpm-foreign',
      /reset/,
    ],
    [
      'an owner with a password',
      'ERROR: Esys_CreatePrimary(0x9A2) - tpm:session(1):authorization failure',
      'device.tpm-failed',
      /password/,
    ],
    ['nothing', '', 'device.tpm-failed', /log/],
  ])('becomes what an operator can act on: %s', (_, stderr, code, advice) => {
    const error = tpmError({ command: 'getcap', stderr, timedOut: false });
    expect(error).toMatchObject({ code, message: expect.stringMatching(advice) as string });
    expect(error.message).not.toContain('tcti-device.c');
  });

  it('counts no more when the command was given up, or was never there', () => {
    expect(tpmError({ command: 'x', stderr: '0x921', timedOut: true }).code).toBe('device.tpm-busy');
    const missing = tpmError({ command: 'x', stderr: '', timedOut: false, spawnCode: 'ENOENT' });
    expect(missing).toMatchObject({
      code: 'device.tpm-absent',
      message: expect.stringContaining('tpm2-tools') as string,
    });
  });
});

describe('the address of a TPM', () => {
  let directory: TempDirectory;
  const path = process.env['PATH'];
  beforeAll(async () => {
    directory = await tempDirectory('azaion-tpm2');
  });
  afterEach(() => {
    process.env['PATH'] = path;
  });
  afterAll(() => directory.remove());

  it.each(['device:/dev/tpmrm0', 'device:/dev/tpmrm1', 'tabrmd', 'swtpm:path=/run/it', 'mssim:host=::1,port=2321'])(
    'is handed on as it was given: %s',
    async (tcti) => {
      const seen = join(directory.path, 'seen');
      await writeFile(join(directory.path, 'tpm2'), `#!/bin/sh\necho "$TPM2TOOLS_TCTI" >> ${seen}\n`);
      await chmod(join(directory.path, 'tpm2'), 0o755);
      await writeFile(seen, '');
      process.env['PATH'] = `${directory.path}:${path ?? ''}`;
      expect(await probeTpm({ tcti, timeoutMs: 20_000 })).toBeUndefined();
      expect(new Set((await readFile(seen, 'utf8')).trim().split('\n'))).toEqual(new Set([tcti]));
    },
  );

  it('is asked on a machine without a place in memory, too: nothing secret passes through the question', async () => {
    await writeFile(join(directory.path, 'tpm2'), '#!/bin/sh\n');
    await chmod(join(directory.path, 'tpm2'), 0o755);
    process.env['PATH'] = `${directory.path}:${path ?? ''}`;
    expect(await probeTpm({ tcti: 'tabrmd', timeoutMs: 20_000 }, ['/proc', '/no/such/directory'])).toBeUndefined();
  });
});

describeWith('tpm', 'a device that is no TPM', () => {
  let directory: TempDirectory;
  beforeAll(async () => {
    directory = await tempDirectory('azaion-no-tpm');
  });
  afterAll(() => directory.remove());

  it.each([
    ['is not there', 'device.tpm-absent', (at: string) => join(at, 'missing')],
    ['is a directory', 'device.tpm-absent', (at: string) => at],
    ['answers nothing', 'device.tpm-absent', () => '/dev/null'],
    ['answers noise', 'device.tpm-failed', () => '/dev/zero'],
  ])('is refused by the real tools when it %s', async (_, code, place) => {
    const error = await probeTpm({ tcti: `device:${place(directory.path)}`, timeoutMs: 20_000 });
    expect(error).toMatchObject({ code });
  });
});
