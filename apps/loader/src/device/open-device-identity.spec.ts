import { join } from 'node:path';

import { type DeviceIdentity } from '@azaion/identity';
import { describeWith, type SoftwareTpm, startSoftwareTpm, type TempDirectory, tempDirectory } from '@azaion/testing';

import { type IdentitySettings, openDeviceIdentity } from './open-device-identity.js';

describe('the choice of a binding', () => {
  let directory: TempDirectory;
  beforeEach(async () => {
    directory = await tempDirectory();
  });
  afterEach(() => directory.remove());

  const settings = (changes: Partial<IdentitySettings>): IdentitySettings => ({
    binding: 'auto',
    dataDir: directory.path,
    tpmTcti: `swtpm:path=${join(directory.path, 'no-socket')}`,
    tpmPcrs: 'sha256:0,2,4,7',
    ...changes,
  });
  const opened = async (
    changes: Partial<IdentitySettings>,
  ): Promise<{ readonly binding: string; readonly reason: string; readonly point: Uint8Array }> => {
    const { identity, reason, close } = await openDeviceIdentity(settings(changes), () => undefined);
    const point = await (identity satisfies DeviceIdentity).agreementPoint();
    await close();
    return { binding: identity.binding, reason, point };
  };

  it('takes what is configured and says so', async () => {
    const { binding, reason } = await opened({ binding: 'credentials' });
    expect(binding).toBe('credentials');
    expect(reason).toBe('LOADER_BINDING=credentials: the device keys stand in a file of the data directory.');
  });

  it('falls back with auto where no TPM answers, saying why', async () => {
    const { binding, reason } = await opened({});
    expect(binding).toBe('credentials');
    expect(reason).toMatch(/^LOADER_BINDING=auto: no TPM can be used \(.+\), so the device keys stand in a file/);
  });

  it('never falls back from a configured tpm', async () => {
    await expect(opened({ binding: 'tpm' })).rejects.toMatchObject({ code: 'device.tpm-absent' });
  });

  describeWith('tpm', 'with a TPM', () => {
    let tpm: SoftwareTpm;
    beforeAll(async () => {
      tpm = await startSoftwareTpm();
    });
    afterAll(() => tpm.remove());

    it('takes it with auto, and finds the same keys again', async () => {
      const first = await opened({ tpmTcti: tpm.tcti });
      expect(first).toMatchObject({ binding: 'tpm', reason: expect.stringContaining('a TPM answers') as string });
      const again = await opened({ tpmTcti: tpm.tcti });
      expect(again.reason).toContain('this device has keys in its TPM already');
      expect(again.point).toEqual(first.point);
    });

    it('stays with keys in a file that exist already: another pair would need a reset', async () => {
      const before = await opened({});
      const after = await opened({ tpmTcti: tpm.tcti });
      expect(after).toMatchObject({ binding: 'credentials', point: before.point });
    });

    it('does not turn to a file when the TPM that holds the keys is gone', async () => {
      await opened({ tpmTcti: tpm.tcti });
      await expect(opened({})).rejects.toMatchObject({ code: 'device.tpm-absent' });
    });
  });
});
