import { spawnSync } from 'node:child_process';
import { hash, randomUUID } from 'node:crypto';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createConnection, type Socket } from 'node:net';
import { basename, join } from 'node:path';

import { generateP256KeyPair, hpkeOpen, hpkeSeal, type P256KeyPair } from '@azaion/crypto';
import { parseTpmPublic, pcrDigestOf, publicAreaOf, type SignedBootPolicy, signBootPolicy } from '@azaion/identity';
import { describeDeviceIdentity } from '@azaion/identity/testing';
import { utf8 } from '@azaion/kernel';
import { describeWith, type SoftwareTpm, startSoftwareTpm, type TempDirectory, tempDirectory } from '@azaion/testing';

import { probeTpm } from './probe-tpm.js';
import { readTpmKeys } from './tpm-key-file.js';
import { TpmDeviceIdentity, type TpmIdentityOptions } from './tpm-device-identity.js';

const PCRS = [0, 2, 4, 7];
const TIMEOUT_MS = 20_000;
const MODEL = 'carrier-a';
const OTHER_STATE = { code: 'device.tpm-policy' };
/** TPMA_OBJECT: fixedTPM, fixedParent, sensitiveDataOrigin, noDA; then what the key is for. */
const FIXED = 0x0432;
const DECRYPT = 1 << 17;
const SIGN = 1 << 18;
/** The test of leaks does as many operations as this says; see "test:tpm" in package.json. */
const OPERATIONS = Number(process.env['TPM_OPERATIONS'] ?? 18);

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
    await tpm.restart(); // registers are as they were
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

  it('answers many callers at once, one after the other', async () => {
    const identity = await identityAt(place());
    const { point } = await generateP256KeyPair();
    const shared = await Promise.all(Array.from({ length: 5 }, () => identity.ecdh(point)));
    expect(new Set(shared.map((bytes) => Buffer.from(bytes).toString('hex'))).size).toBe(1);
  });

  describe('its keys', () => {
    it('were made in the TPM, are fixed to it, each for one purpose, and need a policy', async () => {
      const path = place();
      await identityAt(path);
      const keys = await readTpmKeys(join(path, 'tpm-keys.json'));
      const [agreement, signing] = [keys!.agreement, keys!.signing].map(({ public: area }) =>
        parseTpmPublic(publicAreaOf(area)),
      );
      expect(agreement).toMatchObject({ attributes: FIXED | DECRYPT, authPolicy: expect.any(Uint8Array) as unknown });
      expect(signing).toMatchObject({ attributes: FIXED | SIGN });
      expect(agreement!.authPolicy).toHaveLength(32);
      expect(signing!.authPolicy).toEqual(agreement!.authPolicy);
    });

    it('are refused by the TPM to who comes without the policy', async () => {
      const path = place();
      await identityAt(path);
      const keys = await readTpmKeys(join(path, 'tpm-keys.json'));
      const at = (name: string): string => join(path, name);
      await writeFile(at('pub'), keys!.signing.public);
      await writeFile(at('priv'), keys!.signing.private);
      await writeFile(at('message'), 'signed without leave');
      const attributes = 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt|noda';
      await tpm.tool('createprimary', '-C', 'o', '-G', 'ecc256', '-g', 'sha256', '-a', attributes, '-c', at('primary'));
      await tpm.tool('flushcontext', '-t');
      await tpm.tool('load', '-C', at('primary'), '-u', at('pub'), '-r', at('priv'), '-c', at('key'));
      await tpm.tool('flushcontext', '-t');
      const signature = tpm.tool('sign', '-c', at('key'), '-g', 'sha256', '-o', at('signature'), at('message'));
      await expect(signature).rejects.toThrow(/0x12F/i); // TPM_RC_AUTH_UNAVAILABLE
      await tpm.tool('flushcontext', '-t');
    });

    it('stay the same over a restart of the TPM, also for who has them open', async () => {
      const path = place();
      const identity = await identityAt(path);
      const point = await identity.agreementPoint();
      await tpm.restart();
      await expect(identity.sign(utf8('after the restart'))).resolves.toHaveLength(64);
      expect(await (await identityAt(path)).agreementPoint()).toEqual(point);
    });

    it('are of no use in another TPM', async () => {
      const path = place();
      await identityAt(path);
      const copy = place();
      await cp(path, copy, { recursive: true });
      const other = await startSoftwareTpm();
      try {
        await expect(identityAt(copy, { tcti: other.tcti })).rejects.toMatchObject({ code: 'device.tpm-foreign' });
        expect(await other.handles()).toEqual([]);
      } finally {
        await other.remove();
      }
    });

    it('are not replaced when their file is damaged', async () => {
      const path = place();
      await identityAt(path);
      const file = join(path, 'tpm-keys.json');
      const whole = await readFile(file, 'utf8');
      for (const text of ['', '{}', 'null', whole.slice(0, -9), whole.replace('"format":1', '"format":2')]) {
        await writeFile(file, text);
        await expect(identityAt(path)).rejects.toMatchObject({ code: 'device.key-store' });
        expect(await readFile(file, 'utf8')).toBe(text);
      }
    });
  });

  describe('without a policy key of the fleet', () => {
    it('is refused in any other boot state, and works again in the first', async () => {
      const identity = await identityAt(place());
      await tpm.extendPcr(7);
      await expect(identity.sign(utf8('x'))).rejects.toMatchObject(OTHER_STATE);
      await expect(identity.ecdh((await generateP256KeyPair()).point)).rejects.toMatchObject(OTHER_STATE);
      await tpm.restart();
      await expect(identity.sign(utf8('x'))).resolves.toHaveLength(64);
    });

    it('does not care about registers that were not chosen', async () => {
      const identity = await identityAt(place(), { pcrs: [7] });
      await tpm.extendPcr(4);
      await expect(identity.sign(utf8('x'))).resolves.toHaveLength(64);
    });
  });

  describe('with boot policies that the fleet signs', () => {
    const zero = new Uint8Array(32);
    /** What {@link SoftwareTpm.extendPcr} makes of a register. */
    let policyKey: P256KeyPair;
    let policies: SignedBootPolicy[];
    let counter: number;
    const log: string[] = [];

    beforeAll(async () => {
      policyKey = await generateP256KeyPair();
      await identityAt(place()); // makes the counter of epochs
      counter = Number(
        await tpm
          .tool('nvread', '-C', '0x01500a2a', '-o', join(directory.path, 'n'), '0x01500a2a')
          .then(async () => (await readFile(join(directory.path, 'n'))).readBigUInt64BE()),
      );
    });
    beforeEach(() => {
      policies = [];
      log.length = 0;
    });

    const registers = async (): Promise<Uint8Array> => {
      const path = join(directory.path, 'registers');
      await tpm.tool('pcrread', '-o', path, 'sha256:0,2,4,7');
      return pcrDigestOf([await readFile(path)]);
    };
    const signed = (
      pcrDigest: Uint8Array,
      epochsFromNow: number,
      { model = MODEL, key = policyKey }: { readonly model?: string; readonly key?: P256KeyPair } = {},
    ): SignedBootPolicy =>
      signBootPolicy({ model, epoch: counter + epochsFromNow, pcrs: PCRS, pcrDigest }, key.privateJwk);
    const fleetDevice = (path: string): Promise<TpmDeviceIdentity> =>
      identityAt(path, {
        fleet: { key: policyKey.publicJwk, policies: () => Promise.resolve(policies) },
        log: (message) => log.push(message),
      });
    const booted = pcrDigestOf([zero, zero, zero, zero]);

    it('makes no keys in a boot state that nobody has signed', async () => {
      policies = [signed(new Uint8Array(32).fill(1), 0)];
      await expect(fleetDevice(place())).rejects.toMatchObject(OTHER_STATE);
    });

    it('ignores a policy that somebody else has signed', async () => {
      policies = [signed(booted, 0, { key: await generateP256KeyPair() })];
      await expect(fleetDevice(place())).rejects.toMatchObject(OTHER_STATE);
    });

    it('goes on after an update once a policy for the new state is signed, without a restart of this process', async () => {
      const path = place();
      policies = [signed(booted, 0)];
      const identity = await fleetDevice(path);
      await tpm.extendPcr(0);
      await expect(identity.sign(utf8('x'))).rejects.toMatchObject(OTHER_STATE);
      policies = [...policies, signed(await registers(), 0, { model: 'carrier-b' })];
      await expect(identity.sign(utf8('x'))).rejects.toMatchObject(OTHER_STATE); // another model's
      policies = [...policies, signed(await registers(), 0)];
      await expect(identity.sign(utf8('x'))).resolves.toHaveLength(64);
      expect(await (await fleetDevice(path)).agreementPoint()).toEqual(await identity.agreementPoint());
    });

    it('ends an old epoch: not the old firmware, the old policy nor a copy of the old key file brings it back', async () => {
      const path = place();
      policies = [signed(booted, 0)];
      await fleetDevice(path);
      const old = place();
      await cp(path, old, { recursive: true });
      await tpm.extendPcr(0); // the update
      const updated = await registers();
      policies = [...policies, signed(updated, 1)];
      const after = await fleetDevice(path);
      await expect(after.sign(utf8('x'))).resolves.toHaveLength(64);
      expect(log.join('\n')).toMatch(/epoch \d+ .* taken up.*\n.*are over/);
      await tpm.restart(); // back to the old firmware
      await expect(after.sign(utf8('x'))).rejects.toMatchObject(OTHER_STATE);
      await expect((await fleetDevice(path)).sign(utf8('x'))).rejects.toMatchObject(OTHER_STATE);
      await expect((await fleetDevice(old)).sign(utf8('x'))).rejects.toMatchObject(OTHER_STATE);
      await expect((await identityAt(old)).sign(utf8('x'))).rejects.toMatchObject(OTHER_STATE);
      policies = [signed(booted, 0)];
      await expect(fleetDevice(place())).rejects.toMatchObject(OTHER_STATE); // nor by making new keys
      counter += 1;
    });

    it('lets a policy of a later epoch for the same state end the earlier ones', async () => {
      const path = place();
      policies = [signed(booted, 0)];
      const point = await (await fleetDevice(path)).agreementPoint();
      policies = [...policies, signed(booted, 1)];
      const again = await fleetDevice(path);
      await expect(again.sign(utf8('x'))).resolves.toHaveLength(64);
      expect(await again.agreementPoint()).toEqual(point);
      counter += 1;
    });

    it('refuses to run far ahead: each epoch is a write to the TPM', async () => {
      policies = [signed(booted, 1001)];
      await expect(fleetDevice(place())).rejects.toMatchObject(OTHER_STATE);
    });
  });

  describe('when the TPM does not serve', () => {
    it('says that there is none', async () => {
      const tcti = `swtpm:path=${join(directory.path, 'nothing')}`;
      await expect(identityAt(place(), { tcti })).rejects.toMatchObject({ code: 'device.tpm-absent' });
      await expect(identityAt(place(), { tcti: 'device:/dev/no-such-tpm' })).rejects.toMatchObject({
        code: 'device.tpm-absent',
      });
    });

    it('says that it is gone, and works when it is back', async () => {
      const identity = await identityAt(place());
      await tpm.halt();
      await expect(identity.sign(utf8('x'))).rejects.toMatchObject({ code: 'device.tpm-absent' });
      await tpm.restart();
      await expect(identity.sign(utf8('x'))).resolves.toHaveLength(64);
    });

    it('says that it is busy while another program holds it', async () => {
      const path = place();
      await identityAt(path);
      const holder = await connected(tpm.tcti.replace('swtpm:path=', ''));
      try {
        await expect(identityAt(path, { timeoutMs: 500 })).rejects.toMatchObject({ code: 'device.tpm-busy' });
      } finally {
        holder.destroy();
      }
    });

    it('works through a lockout that other programs have caused', async () => {
      const path = place();
      await mkdir(path);
      const at = (name: string): string => join(path, name);
      await tpm.tool('dictionarylockout', '--setup-parameters', '--max-tries=1', '--recovery-time=1000');
      await writeFile(at('secret'), 'guarded');
      await tpm.tool('createprimary', '-C', 'o', '-c', at('primary'));
      await tpm.tool('flushcontext', '-t');
      const sealed = ['-u', at('pub'), '-r', at('priv')];
      await tpm.tool('create', '-C', at('primary'), '-i', at('secret'), '-p', 'right', ...sealed);
      await tpm.tool('flushcontext', '-t');
      await tpm.tool('load', '-C', at('primary'), ...sealed, '-c', at('key'));
      await tpm.tool('flushcontext', '-t');
      const unseal = (password: string): Promise<string> => tpm.tool('unseal', '-c', at('key'), '-p', password);
      await expect(unseal('wrong')).rejects.toThrow(/0x98E/i);
      await expect(unseal('right')).rejects.toThrow(/0x921/i); // locked
      await tpm.tool('flushcontext', '-t');
      await expect((await identityAt(path)).sign(utf8('x'))).resolves.toHaveLength(64);
      await tpm.tool('dictionarylockout', '--clear-lockout');
    });
  });

  describe('leaves nothing in the TPM', () => {
    it(`after ${OPERATIONS} operations with failures among them`, async () => {
      const identity = await identityAt(place());
      const { point } = await generateP256KeyPair();
      const off = Uint8Array.from(point).fill(1, 1);
      for (let done = 0; done < OPERATIONS; done += 3) {
        const isChanged = done % 9 === 6;
        if (isChanged) await tpm.extendPcr(7);
        const work = [identity.sign(utf8('x')), identity.ecdh(point), identity.ecdh(off)];
        const outcomes = (await Promise.allSettled(work)).map(({ status }) => status);
        const allowed = isChanged ? 'rejected' : 'fulfilled';
        expect(outcomes).toEqual([allowed, allowed, 'rejected']);
        expect(await tpm.handles()).toEqual([]);
        if (isChanged) await tpm.restart();
      }
    }, 600_000);

    it('after a process that was killed in the middle of its work', async () => {
      const abandoned = `/dev/shm/azaion-tpm-${hash('sha256', tpm.tcti).slice(0, 8)}-killed-${randomUUID().slice(0, 8)}`;
      await mkdir(abandoned);
      // Its socket stays, and nobody listens: as after SIGKILL.
      spawnSync(process.execPath, [
        '--eval',
        `require('node:net').createServer().listen('${abandoned}/alive', () => process.kill(process.pid, 'SIGKILL'))`,
      ]);
      await tpm.tool('startauthsession', '--policy-session', '-S', join(abandoned, 'session.ctx'));
      expect(await tpm.handles()).toHaveLength(1);
      await probeTpm({ tcti: tpm.tcti, timeoutMs: TIMEOUT_MS });
      expect(await tpm.handles()).toEqual([]);
      expect(await readdir('/dev/shm')).not.toContain(basename(abandoned));
    });

    it('and leaves alone what a killed process left that worked with another TPM', async () => {
      const abandoned = `/dev/shm/azaion-tpm-${hash('sha256', 'another TPM').slice(0, 8)}-${randomUUID().slice(0, 8)}`;
      await mkdir(abandoned);
      try {
        await probeTpm({ tcti: tpm.tcti, timeoutMs: TIMEOUT_MS });
        expect(await readdir('/dev/shm')).toContain(basename(abandoned));
      } finally {
        await rm(abandoned, { recursive: true });
      }
    });
  });
});

function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path, () => resolve(socket)).once('error', reject);
  });
}
