import { join } from 'node:path';

import type { DeviceIdentity, HardwareFacts } from '@azaion/identity';
import { FixedHardwareProbe } from '@azaion/identity/testing';
import { describeWith, type SoftwareTpm, startSoftwareTpm, type TempDirectory, tempDirectory } from '@azaion/testing';

import { type IdentitySettings, openDeviceIdentity } from './open-device-identity.js';

const VIRTUAL: HardwareFacts = { isVirtual: true };
const PHYSICAL: HardwareFacts = {
  boardSerial: '1421021062358',
  cpuFeatures: 'fp asimd',
  mac: '00:00:5e:00:53:01',
  memoryKib: 7_620_416,
  isVirtual: false,
};

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
    machine = VIRTUAL,
  ): Promise<{ readonly binding: string; readonly reason: string; readonly point: Uint8Array }> => {
    const { identity, reason, close } = await openDeviceIdentity(
      settings(changes),
      () => undefined,
      new FixedHardwareProbe(machine),
    );
    const point = await (identity satisfies DeviceIdentity).agreementPoint();
    await close();
    return { binding: identity.binding, reason, point };
  };

  it('takes what is configured and says so', async () => {
    const { binding, reason } = await opened({ binding: 'credentials' });
    expect(binding).toBe('credentials');
    expect(reason).toBe('LOADER_BINDING=credentials: the device keys stand in a file of the data directory.');
  });

  it('takes the parts of a physical machine with auto where no TPM answers, and stays with them', async () => {
    const first = await opened({}, PHYSICAL);
    expect(first.binding).toBe('hardware');
    expect(first.reason).toMatch(
      /^LOADER_BINDING=auto: no TPM can be used \(.+\), and the machine names its parts, so /,
    );
    const again = await opened({}, PHYSICAL);
    expect(again).toMatchObject({ binding: 'hardware', point: first.point });
    expect(again.reason).toContain('this device has keys tied to its parts already');
  });

  it('falls back to a file with auto on a virtual machine without a TPM, saying both', async () => {
    const { binding, reason } = await opened({});
    expect(binding).toBe('credentials');
    expect(reason).toMatch(
      /^LOADER_BINDING=auto: no TPM can be used \(.+\), and this is a virtual machine .+, so .+ file/,
    );
  });

  it('never falls back from configured hardware', async () => {
    await expect(opened({ binding: 'hardware' })).rejects.toMatchObject({ code: 'device.hardware-unknown' });
  });

  it('never falls back from a configured tpm', async () => {
    await expect(opened({ binding: 'tpm' })).rejects.toMatchObject({ code: 'device.tpm-absent' });
  });

  it.each([
    ['the key of the fleet without its policies', ['tpmPolicyKeyFile']],
    ['policies without the key of the fleet', ['tpmPolicyFile']],
    ['files that are not there', ['tpmPolicyKeyFile', 'tpmPolicyFile']],
  ])('makes no keys in a TPM with %s', async (_, members) => {
    const files = Object.fromEntries(members.map((member) => [member, join(directory.path, 'missing.json')]));
    await expect(opened({ binding: 'tpm', ...files })).rejects.toMatchObject({ code: 'device.tpm-policy' });
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
