import { join } from 'node:path';

import { hpkeOpen, hpkeSeal } from '@azaion/crypto';
import { describeDeviceIdentity } from '@azaion/identity/testing';
import { utf8 } from '@azaion/kernel';
import { describeWith, type SoftwareTpm, startSoftwareTpm, type TempDirectory, tempDirectory } from '@azaion/testing';

import { TpmDeviceIdentity, type TpmIdentityOptions } from './tpm-device-identity.js';

const PCRS = [0, 2, 4, 7];
const TIMEOUT_MS = 20_000;

describeWith('tpm', 'TpmDeviceIdentity', () => {
  let tpm: SoftwareTpm;
  let directory: TempDirectory;
  const open: TpmDeviceIdentity[] = [];
  let made = 0;

  beforeAll(async () => {
    tpm = await startSoftwareTpm();
    directory = await tempDirectory();
  });
  afterEach(async () => {
    for (const identity of open.splice(0)) await identity.close();
    expect(await tpm.handles()).toEqual([]);
  });
  afterAll(async () => {
    await tpm.remove();
    await directory.remove();
  });

  const identityAt = async (path: string, options: Partial<TpmIdentityOptions> = {}): Promise<TpmDeviceIdentity> => {
    const identity = await TpmDeviceIdentity.open({
      tcti: tpm.tcti,
      timeoutMs: TIMEOUT_MS,
      directory: path,
      pcrs: PCRS,
      fleet: undefined,
      log: () => undefined,
      ...options,
    });
    open.push(identity);
    return identity;
  };
  const place = (): string => join(directory.path, String(made++));

  describeDeviceIdentity('TpmDeviceIdentity', () => identityAt(place()));

  it('opens what HPKE has sealed to its agreement key, with the Diffie-Hellman inside the TPM', async () => {
    const identity = await identityAt(place());
    const point = await identity.agreementPoint();
    const sealed = await hpkeSeal(utf8('a recipe key'), point, utf8('grant'));
    expect(await hpkeOpen(sealed, point, identity.ecdh, utf8('grant'))).toEqual(utf8('a recipe key'));
  });
});
