import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { readLoaderConfig } from '../config.js';
import { readDeviceConf } from './device-conf.js';

describe('readDeviceConf', () => {
  it('says that there is no device where there is no file', async () => {
    expect(await readDeviceConf('/no/such/device.conf')).toBeUndefined();
  });
});

describe('the Admin API’s address', () => {
  let directory: TempDirectory;
  let path: string;
  beforeEach(async () => {
    directory = await tempDirectory();
    path = join(directory.path, 'device.conf');
    await writeFile(
      path,
      "AZAION_DEVICE_EMAIL='azj-0007@azaion.com'\nAZAION_DEVICE_PASSWORD='x'\nRESOURCE_API_URL='https://provisioned.example'\n",
    );
  });
  afterEach(() => directory.remove());

  it('comes from device.conf where no setting names one', () => {
    expect(readLoaderConfig({ DEVICE_CONF: path }).resourceApiUrl).toBe('https://provisioned.example');
    expect(readLoaderConfig({ DEVICE_CONF: path, RESOURCE_API_URL: '' }).resourceApiUrl).toBe(
      'https://provisioned.example',
    );
  });

  it('is the setting’s where there is one', () => {
    const env = { DEVICE_CONF: path, RESOURCE_API_URL: 'https://set.example' };
    expect(readLoaderConfig(env).resourceApiUrl).toBe('https://set.example');
  });

  it('is checked like a setting, and missed like one', async () => {
    await writeFile(path, 'AZAION_DEVICE_EMAIL=a@b\nAZAION_DEVICE_PASSWORD=x\nRESOURCE_API_URL=http://far.example\n');
    expect(() => readLoaderConfig({ DEVICE_CONF: path })).toThrow(/RESOURCE_API_URL: must be an https URL/);
    expect(() => readLoaderConfig({ DEVICE_CONF: `${path}.none` })).toThrow(/RESOURCE_API_URL/);
  });
});
