import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describeDeviceIdentity } from '@azaion/identity/testing';

import { CredentialsDeviceIdentity } from './credentials-device-identity.js';

const REFUSED = { code: 'device.key-store' };

describe('CredentialsDeviceIdentity', () => {
  let directory: string;
  let path: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'azaion-identity-'));
    path = join(directory, 'state', 'keys.json');
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  describeDeviceIdentity('CredentialsDeviceIdentity', () =>
    CredentialsDeviceIdentity.open(join(directory, `${String(Math.random()).slice(2)}.json`)),
  );

  it('makes its keys once, in a file for its owner only, and leaves nothing beside it', async () => {
    const first = await CredentialsDeviceIdentity.open(path);
    const again = await CredentialsDeviceIdentity.open(path);
    expect(await again.agreementPoint()).toEqual(await first.agreementPoint());
    expect(await again.signingKey()).toEqual(await first.signingKey());
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(join(directory, 'state'))).toEqual(['keys.json']);
  });

  it('agrees on one pair when opened many times at once', async () => {
    const identities = await Promise.all(Array.from({ length: 8 }, () => CredentialsDeviceIdentity.open(path)));
    const points = await Promise.all(identities.map((identity) => identity.agreementPoint()));
    expect(new Set(points.map((point) => Buffer.from(point).toString('hex'))).size).toBe(1);
    expect(await readdir(join(directory, 'state'))).toEqual(['keys.json']);
  });

  it.each([0o640, 0o604, 0o660, 0o620])('refuses a file of mode %i', async (mode) => {
    await CredentialsDeviceIdentity.open(path);
    await chmod(path, mode);
    await expect(CredentialsDeviceIdentity.open(path)).rejects.toMatchObject(REFUSED);
  });

  it('refuses a damaged file and leaves it as it is', async () => {
    await CredentialsDeviceIdentity.open(path);
    const whole = await readFile(path, 'utf8');
    const { agreement, signing } = JSON.parse(whole) as Record<string, Record<string, string>>;
    const damaged = [
      '',
      whole.slice(0, -10),
      'null',
      '[]',
      '{}',
      JSON.stringify({ agreement }),
      JSON.stringify({ agreement, signing: agreement }),
      JSON.stringify({ agreement, signing: { ...signing, d: agreement!['d'] } }),
      JSON.stringify({ agreement, signing, more: 1 }),
      ' '.repeat(5000) + whole,
    ];
    for (const text of damaged) {
      await writeFile(path, text);
      const opened = CredentialsDeviceIdentity.open(path);
      await expect(opened).rejects.toMatchObject(REFUSED);
      await expect(opened).rejects.not.toMatchObject({ message: expect.stringContaining(directory) as string });
      expect(await readFile(path, 'utf8')).toBe(text);
    }
  });

  it('refuses a symbolic link and a directory in the place of the file', async () => {
    await CredentialsDeviceIdentity.open(path);
    const linked = join(directory, 'linked.json');
    await symlink(path, linked);
    await expect(CredentialsDeviceIdentity.open(linked)).rejects.toMatchObject(REFUSED);
    await expect(CredentialsDeviceIdentity.open(directory)).rejects.toMatchObject(REFUSED);
  });
});
